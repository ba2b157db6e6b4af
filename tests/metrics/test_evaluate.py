from types import SimpleNamespace

import pytest
import torch

from xferlib.metrics import segmentation as metrics


def test_sums_before_it_divides_and_takes_images_of_any_size():
    generator = torch.Generator().manual_seed(0)
    truths = [torch.randint(3, size, generator=generator) for size in ((8, 9), (5, 20), (16, 4))]
    truths[0][0] = 255
    logits = [torch.randn(1, 3, *truth.shape, generator=generator) for truth in truths]
    answers = iter(logits)
    found = metrics.evaluate(lambda image: next(answers), [(torch.rand(3, *t.shape), t) for t in truths], 3)

    flat = torch.cat([score.argmax(1).flatten() for score in logits])
    expected = metrics.scores(metrics.confusion(flat, torch.cat([t.flatten() for t in truths]), 3))
    assert found["mean IU"] == expected.mean_iu
    assert found["pixel accuracy"] == expected.pixel_accuracy
    assert found["mean accuracy"] == expected.mean_accuracy
    assert found["frequency-weighted IU"] == expected.frequency_weighted_iu
    f1 = [metrics.boundary_f1(s.argmax(1)[0], t, 3) for s, t in zip(logits, truths, strict=True)]
    assert found["boundary F1"] == pytest.approx(sum(f1) / 3)
    assert next(iter(found)) == "mean IU"
    labels = iter([score.argmax(1) for score in logits])
    assert metrics.evaluate(lambda image: next(labels), [(torch.rand(3, *t.shape), t) for t in truths], 3) == found


def test_predicts_without_gradients():
    weight = torch.ones((), requires_grad=True)
    seen = []

    def predict(image):
        seen.append(weight * image)
        return seen[0]

    metrics.evaluate(predict, [(torch.rand(3, 4, 4), torch.zeros(4, 4).long())], 3)
    assert not seen[0].requires_grad


def test_refuses_an_empty_dataset():
    with pytest.raises(ValueError, match="empty"):
        metrics.evaluate(lambda image: image, [], 3)


def test_another_void():
    generator = torch.Generator().manual_seed(0)
    truth, logits = torch.randint(3, (8, 9), generator=generator), torch.randn(1, 3, 8, 9, generator=generator)
    found = []
    for void in (255, 7):
        truth[2:4] = void
        found.append(metrics.evaluate(lambda image: logits, [(torch.rand(3, 8, 9), truth)], 3, void))
    assert found[0] == found[1]


def test_counts_of_another_device_are_added_up_at_home(monkeypatch):
    counts = torch.tensor([[2, 1], [0, 5]])
    monkeypatch.setattr(metrics, "confusion", lambda *given: SimpleNamespace(cpu=lambda: counts))
    labels = torch.zeros(1, 2, 4).long()
    found = metrics.evaluate(lambda image: labels, 3 * [(torch.rand(3, 2, 4), labels[0])], 2)
    assert found["mean IU"] == metrics.scores(counts).mean_iu
