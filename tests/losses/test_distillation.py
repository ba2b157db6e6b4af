"""Distillation: by hand, against scipy and torch, and the traps that its formulas hold."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from scipy.special import rel_entr, softmax

from xferlib.losses.distillation import (
    attention_map,
    attention_transfer,
    distillation_loss,
    hint_loss,
    region_mimic_loss,
    soft_target_loss,
)
from xferlib.losses.segmentation import cross_entropy


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def slope(student, teacher, temperature):
    student = student.clone().requires_grad_()
    soft_target_loss(student, teacher, temperature).backward()
    return student.grad


# Soft targets


def test_soft_targets_by_hand():
    # Teacher 3/4 and 1/4, student 1/2 and 1/2: 3/4 ln(3/2) + 1/4 ln(1/2).
    teacher, student = torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_target_loss(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-6)
    # At T = 2 logits halve, so odds of 9 become 3; the loss is four times the divergence.
    assert soft_target_loss(student, 2 * teacher, 2.0).item() == pytest.approx(4 * expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_soft_targets_against_scipy_and_torch(temperature):
    student, teacher = 3 * random(7, 5), 3 * random(7, 5, seed=1)
    loss = soft_target_loss(student, teacher, temperature).item()
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (teacher, student))
    assert loss == pytest.approx(temperature**2 * rel_entr(p, q).sum(1).mean(), rel=1e-9)
    log_student, target = F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1)
    torchs = F.kl_div(log_student, target, reduction="batchmean") * temperature**2
    assert loss == pytest.approx(torchs.item(), rel=1e-9)


def test_the_traps_of_kl_div():
    """Torch's "mean" divides by the classes as well, and its arguments are log-student first, teacher second."""
    student, teacher = random(7, 5), 2 * random(7, 5, seed=1)
    loss = soft_target_loss(student, teacher, 1.0).item()
    with pytest.warns(UserWarning, match="batchmean"):
        trapped = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="mean")
    assert loss == pytest.approx(5 * trapped.item(), rel=1e-9)
    swapped = F.kl_div(teacher.log_softmax(1), student.softmax(1), reduction="batchmean")
    assert abs(loss - swapped.item()) > 0.05 * loss
    assert soft_target_loss(teacher, student, 1.0).item() == pytest.approx(swapped.item(), rel=1e-9)


def test_soft_targets_follow_the_cross_entropy_of_the_paper():
    student, teacher = random(4, 6), random(4, 6, seed=1)
    soft = F.softmax(teacher / 3, 1)
    papers = student.clone().requires_grad_()
    (9 * F.cross_entropy(papers / 3, soft)).backward()
    torch.testing.assert_close(slope(student, teacher, 3.0), papers.grad)


def test_high_temperature_is_regression_of_the_logits():
    student, teacher = random(1, 10), random(1, 10, seed=1)
    student, teacher = student - student.mean(), teacher - teacher.mean()
    errors = {t: (slope(student, teacher, t) - (student - teacher) / 10).abs().max().item() for t in (1, 10, 100)}
    assert errors[1] > 0.02 and errors[100] < 0.002
    assert errors[10] / errors[100] == pytest.approx(10, rel=0.1)  # it falls as 1 / T
    # Without a mean of zero the limit is that of the centred scores.
    assert torch.allclose(slope(student + 5, teacher - 3, 1e4), (student - teacher) / 10, atol=1e-4)


def test_the_square_keeps_the_gradient_of_one_size():
    student, teacher = random(50, 10), random(50, 10, seed=1)
    sizes = [slope(student, teacher, t).norm().item() for t in (2, 4, 8, 20, 100)]
    assert max(sizes) < 1.3 * min(sizes)
    bare = [size / t**2 for size, t in zip(sizes, (2, 4, 8, 20, 100), strict=True)]
    assert max(bare) > 1000 * min(bare)


def test_soft_targets_see_no_shift_and_no_order():
    student, teacher = random(3, 4), random(3, 4, seed=1)
    loss = soft_target_loss(student, teacher, 2.0)
    assert torch.allclose(soft_target_loss(student + 7, teacher - random(3, 1), 2.0), loss)
    order = [2, 0, 3, 1]
    assert torch.allclose(soft_target_loss(student[:, order], teacher[:, order], 2.0), loss)
    assert soft_target_loss(teacher, teacher + 4, 2.0).item() == pytest.approx(0, abs=1e-12)
    assert loss > 0


def test_soft_targets_of_maps_are_those_of_their_pixels():
    student, teacher = random(2, 5, 3, 4), random(2, 5, 3, 4, seed=1)
    flat = [logits.movedim(1, -1).reshape(-1, 5) for logits in (student, teacher)]
    assert torch.allclose(soft_target_loss(student, teacher, 3.0), soft_target_loss(*flat, 3.0))
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    chosen = [logits[mask.flatten()] for logits in flat]
    assert torch.allclose(soft_target_loss(student, teacher, 3.0, mask), soft_target_loss(*chosen, 3.0))


def test_what_does_not_count_gets_no_gradient():
    student = random(2, 5, 3, 4).requires_grad_()
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    loss = soft_target_loss(student, random(2, 5, 3, 4, seed=1), 3.0, mask)
    loss.backward()
    assert loss.item() == 0 and not student.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_scores_do_not_overflow(dtype):
    student, teacher = 1e4 * torch.eye(3, dtype=dtype), 1e4 * torch.eye(3, dtype=dtype).flip(0)
    assert soft_target_loss(student, student, 1.0).item() == 0
    assert soft_target_loss(student, teacher, 1.0).item() == pytest.approx(2e4 / 3 * 1.0, rel=1e-5)
    assert slope(student, teacher, 1.0).isfinite().all()


@pytest.mark.parametrize("masked", [False, True])
def test_sums_over_a_picture_do_not_outgrow_float16(masked):
    student, teacher = (random(1, 2, 400, 400, seed=seed).half() for seed in (0, 1))
    mask = torch.ones(1, 400, 400, dtype=torch.bool) if masked else None
    expected = soft_target_loss(student.float(), teacher.float(), 2.0, mask).item()
    assert soft_target_loss(student, teacher, 2.0, mask).item() == pytest.approx(expected, rel=1e-3)
    features = 100 * random(1, 64, 3, 3)
    torch.testing.assert_close(attention_map(features.half()).double(), attention_map(features), rtol=1e-2, atol=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_differences_of_features_do_not_outgrow_float16(autocast):
    student, teacher = (300 * random(1, 4, 6, 8, seed=seed).half() for seed in (0, 1))
    boxes = [torch.tensor([[0.0, 0, 32, 24], [4.0, 8, 20, 24]])]
    for loss in (
        hint_loss,
        lambda x, y: region_mimic_loss(x, y, None, stride=4),
        lambda x, y: region_mimic_loss(x, y, boxes, stride=4),
    ):
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            found = loss(student, teacher)
        assert found.item() == pytest.approx(loss(student.double(), teacher.double()).item(), rel=1e-5)


def test_the_teacher_gets_no_gradient():
    student, teacher = random(2, 3, 4, 4).requires_grad_(), random(2, 3, 4, 4, seed=1).requires_grad_()
    boxes = [torch.tensor([[0.0, 0, 2, 2]])] * 2
    for loss in (
        soft_target_loss(student, teacher, 2.0),
        hint_loss(student, teacher),
        attention_transfer(student, teacher),
        region_mimic_loss(student, teacher, boxes, stride=1),
    ):
        student.grad = None
        loss.backward()
        assert student.grad.any() and teacher.grad is None


# Soft targets and labels


def test_labels_and_teacher_share_the_loss():
    student, teacher, labels = random(6, 4), random(6, 4, seed=1), torch.tensor([0, 1, 2, 3, 0, 1])
    hard, soft = F.cross_entropy(student, labels), soft_target_loss(student, teacher, 4.0)
    loss = distillation_loss(student, labels, teacher, temperature=4.0, share=0.7)
    assert torch.allclose(loss, 0.3 * hard + 0.7 * soft)
    assert torch.allclose(distillation_loss(student, labels, teacher, temperature=4.0, share=0), hard)
    assert torch.allclose(distillation_loss(student, labels, teacher, temperature=4.0, share=1), soft)


def test_void_counts_in_neither_term():
    student, teacher = random(2, 5, 3, 4), random(2, 5, 3, 4, seed=1)
    labels = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    labels[:, :, :2] = 255
    loss = distillation_loss(student, labels, teacher, temperature=2.0, share=0.4)
    seen = [each[..., 2:] for each in (student, labels, teacher)]
    assert torch.allclose(loss, distillation_loss(*seen, temperature=2.0, share=0.4))
    assert torch.allclose(
        loss, 0.6 * cross_entropy(student, labels) + 0.4 * soft_target_loss(student, teacher, 2.0, labels != 255)
    )


def test_another_void():
    student, teacher = random(2, 5, 3, 4), random(2, 5, 3, 4, seed=1)
    labels = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    voids = []
    for void in (255, 7):
        labels[:, :, :2] = void
        voids.append(distillation_loss(student, labels, teacher, temperature=2.0, share=0.4, ignore=void))
    assert torch.equal(*voids)
    labels[:, :, :2] = 3
    ignored = distillation_loss(student, labels, teacher, temperature=2.0, share=0.4, ignore=3)
    assert not torch.allclose(ignored, distillation_loss(student, labels, teacher, temperature=2.0, share=0.4))


def test_a_picture_of_class_255_is_no_void():
    scores, labels = random(2, 300), torch.tensor([255, 3])
    loss = distillation_loss(scores, labels, scores, temperature=1.0, share=0.0)
    assert torch.allclose(loss, F.cross_entropy(scores, labels))


# Features


def test_hints_by_hand():
    guided, hint = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    assert hint_loss(guided, hint).item() == 0.5 * (0 + 4 + 9 + 9) / 4
    assert hint_loss(guided.repeat(3, 1, 2, 1), hint.repeat(3, 1, 2, 1)).item() == 0.5 * 22 / 4
    assert hint_loss(hint, hint).item() == 0


def test_attention_by_hand():
    # Squared sums 9 + 16 = 25 and 0: all attention lies at the first place.
    features = torch.tensor([[[[3.0, 0.0]], [[-4.0, 0.0]]]])
    assert attention_map(features).tolist() == [[[1.0, 0.0]]]
    spread = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # squared sums 10 and 20
    assert attention_map(spread)[0, 0].tolist() == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5)])
    elsewhere = torch.tensor([[[[0.0, 7.0]]]])
    assert attention_transfer(features, elsewhere).item() == 2
    assert attention_transfer(features.repeat(3, 1, 1, 1), elsewhere.repeat(3, 1, 1, 1)).item() == 2
    both = torch.tensor([[[[1.0, 1.0]]]])
    assert attention_transfer(features, both).item() == pytest.approx(2 - math.sqrt(2), rel=1e-6)


def test_attention_sees_neither_channels_nor_scale_nor_sign():
    features, other = random(2, 6, 3, 4), random(2, 9, 3, 4, seed=1)
    assert torch.allclose(attention_map(features).square().sum((1, 2)), torch.ones(2, dtype=torch.float64))
    loss = attention_transfer(features, other)
    for same in (features.flip(1), -features, 0.01 * features, torch.cat([features, features], 1)):
        assert torch.allclose(attention_transfer(same, other), loss)
    assert 0 < loss < 2 and attention_transfer(features, features) == 0
    assert attention_map(torch.zeros(1, 2, 3, 4)).sum() == 0


def test_regions_by_hand():
    student, teacher = torch.zeros(1, 1, 2, 3), torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    # With a stride of 8: the left four cells, and the last cell alone.
    boxes = torch.tensor([[0.0, 0, 16, 16], [17.0, 9, 23, 15]])
    expected = 0.5 * ((1 + 4 + 16 + 25) / 4 + 36) / 2
    assert region_mimic_loss(student, teacher, [boxes], stride=8).item() == pytest.approx(expected)
    # Cells that a box only touches count too, the border of the next cell does not.
    for touching in ([0.0, 0, 8.5, 8], [7.9, 2, 16, 7]):
        loss = region_mimic_loss(student, teacher, [torch.tensor([touching])], stride=8)
        assert loss.item() == pytest.approx(0.5 * (1 + 4) / 2)
    point = torch.tensor([[16.0, 8, 16, 8]])
    assert region_mimic_loss(student, teacher, [point], stride=8).item() == 0.5 * 36


def test_regions_are_means_over_slices():
    student, teacher = random(2, 3, 6, 8), random(2, 3, 6, 8, seed=1)
    boxes = [torch.tensor([[4.0, 8, 20, 24], [0.0, 0, 32, 4]]), torch.tensor([[12.0, 4, 16, 8]])]
    slices = [(0, slice(2, 6), slice(1, 5)), (0, slice(0, 1), slice(0, 8)), (1, slice(1, 2), slice(3, 4))]
    terms = [(student - teacher)[i, :, rows, columns].square().mean() for i, rows, columns in slices]
    assert torch.allclose(region_mimic_loss(student, teacher, boxes, stride=4), 0.5 * sum(terms) / 3)


def test_a_region_counts_whatever_its_size():
    student, teacher = torch.zeros(1, 2, 16, 16), torch.ones(1, 2, 16, 16)
    large, small = torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([[0.0, 0, 4, 4]])
    losses = [region_mimic_loss(student, teacher, [boxes], stride=4) for boxes in (large, small)]
    assert losses[0] == losses[1] == 0.5
    assert region_mimic_loss(student, teacher, [torch.cat([large, small])], stride=4) == 0.5


def test_outside_the_regions_nothing_is_asked():
    student, teacher = random(1, 2, 6, 6).requires_grad_(), random(1, 2, 6, 6, seed=1)
    region_mimic_loss(student, teacher, [torch.tensor([[8.0, 8, 16, 20]])], stride=4).backward()
    asked = student.grad.abs().sum((0, 1)) > 0
    assert asked[2:5, 2:4].all() and asked.sum() == 6


def test_no_region_no_loss():
    student = random(2, 2, 6, 6).requires_grad_()
    beside = torch.tensor([[100.0, 0, 120, 8], [-9.0, -9, -1, -1]])
    loss = region_mimic_loss(student, random(2, 2, 6, 6, seed=1), [torch.zeros(0, 4), beside], stride=4)
    loss.backward()
    assert loss.item() == 0 and not student.grad.any()
    # What lies beside the map does not thin out what lies on it.
    inside = torch.tensor([[0.0, 0, 8, 8]])
    both = [torch.cat([inside, beside])]
    one, other = random(1, 2, 6, 6), random(1, 2, 6, 6, seed=1)
    assert region_mimic_loss(one, other, both, stride=4) == region_mimic_loss(one, other, [inside], stride=4)


def test_the_whole_map_is_one_region():
    student, teacher = random(2, 3, 6, 8), random(2, 3, 6, 8, seed=1)
    whole = [torch.tensor([[0.0, 0, 32, 24]])] * 2
    loss = region_mimic_loss(student, teacher, None, stride=4)
    assert torch.allclose(loss, region_mimic_loss(student, teacher, whole, stride=4))
    assert torch.allclose(loss, hint_loss(student, teacher))


def test_gradients():
    scores, other = random(2, 3, 2, 2).requires_grad_(), random(2, 3, 2, 2, seed=1)
    labels = torch.tensor([[[0, 1], [255, 2]], [[2, 1], [0, 0]]])
    boxes = [torch.tensor([[0.0, 0, 4, 8]]), torch.tensor([[0.0, 0, 8, 8], [4.0, 4, 8, 8]])]
    for loss in (
        lambda x: soft_target_loss(x, other, 3.0),
        lambda x: distillation_loss(x, labels, other, temperature=3.0, share=0.5),
        lambda x: hint_loss(x, other),
        lambda x: attention_transfer(x, other),
        lambda x: region_mimic_loss(x, other, boxes, stride=4),
    ):
        assert torch.autograd.gradcheck(loss, scores)


# Bad input

TEN, NINE, MAP = torch.zeros(2, 10), torch.zeros(2, 9), torch.zeros(1, 4, 3, 3)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("student scores 10 classes and the teacher 9", lambda: soft_target_loss(TEN, NINE, 1.0)),
        ("(2, 10) and teacher scores of (3, 10)", lambda: soft_target_loss(TEN, torch.zeros(3, 10), 1.0)),
        ("resize the smaller map", lambda: soft_target_loss(MAP, MAP[..., 1:], 1.0)),
        ("scores of shape (10,)", lambda: soft_target_loss(TEN[0], TEN[0], 1.0)),
        ("temperature 0 is not above 0", lambda: soft_target_loss(TEN, TEN, 0)),
        ("temperature -2", lambda: distillation_loss(MAP, MAP[:, 0].long(), MAP, temperature=-2, share=0.5)),
        ("temperature nan", lambda: soft_target_loss(TEN, TEN, math.nan)),
        ("mask of shape (2, 10)", lambda: soft_target_loss(TEN, TEN, 1.0, TEN > 0)),
        ("share 1.5", lambda: distillation_loss(TEN, TEN[:, 0].long(), TEN, temperature=1, share=1.5)),
        ("label 7", lambda: distillation_loss(MAP, MAP[:, 0].long() + 7, MAP, temperature=1, share=0.5)),
        ("label 255", lambda: distillation_loss(TEN, TEN[:, 0].long() + 255, TEN, temperature=1, share=0.5)),
        ("(1, 4, 3, 3) and teacher features of (1, 8, 3, 3)", lambda: hint_loss(MAP, torch.zeros(1, 8, 3, 3))),
        ("xferlib.nets.hints.Regressor", lambda: region_mimic_loss(MAP, MAP[..., 1:], None, stride=1)),
        ("features of shape (4, 3, 3)", lambda: attention_map(MAP[0])),
        ("(1, 4, 3, 3) and teacher features of (1, 4, 3, 2)", lambda: attention_transfer(MAP, MAP[..., 1:])),
        ("2 sets of boxes for 1 pictures", lambda: region_mimic_loss(MAP, MAP, [torch.zeros(0, 4)] * 2, stride=1)),
        ("[5.0, 0.0, 1.0, 1.0]", lambda: region_mimic_loss(MAP, MAP, [torch.tensor([[5.0, 0, 1, 1]])], stride=1)),
        ("stride 0 is not above 0", lambda: region_mimic_loss(MAP, MAP, [torch.zeros(0, 4)], stride=0)),
    ],
)
def test_bad_input_is_named(words, call):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def test_a_label_below_the_classes_is_no_void():
    with pytest.raises(ValueError, match="label -1 is no class"):
        distillation_loss(random(2, 3), torch.tensor([0, -1]), random(2, 3, seed=1), temperature=2.0, share=0.5)
