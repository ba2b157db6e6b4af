"""The mean teacher: its running mean by hand, inside the one loop, and resumed."""

import pytest
import torch
from torch import nn

from xferlib import train
from xferlib.losses.consistency import consistency
from xferlib.losses.segmentation import cross_entropy
from xferlib.train.mean_teacher import MeanTeacher, WithUnlabelled, _statistics_kept


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def follow(net, images):
    return net(images, images, images)


def test_the_first_step_forgets_the_beginning_then_the_mean_runs():
    net = MeanTeacher(tiny(), 0.75).train()
    images = torch.rand(2, 3, 8, 8)
    weight, mean = net.student[3].weight, net.teacher[3].weight
    values = []
    for step in range(6):
        with torch.no_grad():
            weight.fill_(float(step + 1))
        follow(net, images)
        values.append(mean.flatten()[0].item())
    # Decays 0, 1/2, 2/3, 3/4, 3/4, 3/4: the plain mean at first.
    expected = [1.0, 1.5, 2.0]
    for new in (4, 5, 6):
        expected.append(0.75 * expected[-1] + 0.25 * new)
    assert values == pytest.approx(expected)


def test_without_decay_the_teacher_is_the_student():
    net = MeanTeacher(tiny(), 0.0).train()
    for _ in range(3):
        with torch.no_grad():
            net.student[0].weight.add_(1.0)
        before = {name: value.clone() for name, value in net.student.state_dict().items()}
        follow(net, torch.rand(2, 3, 8, 8))
        assert all(torch.equal(value, net.teacher.state_dict()[name]) for name, value in before.items())


def test_only_the_student_learns_and_the_norms_of_the_teacher_rest():
    net = MeanTeacher(tiny()).train()
    assert net.student.training and not net.teacher.training
    labelled, changed, guess = net(torch.rand(2, 3, 8, 8), torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8))
    assert labelled.shape == (2, 2, 8, 8) and changed.shape == guess.shape == (3, 2, 8, 8)
    assert not guess.requires_grad and not any(p.requires_grad for p in net.teacher.parameters())
    (labelled.sum() + changed.sum()).backward()
    assert all(p.grad is not None for p in net.student.parameters())


def test_without_other_pictures_the_student_learns_and_the_teacher_follows():
    net, images = MeanTeacher(tiny(), 0.75).train(), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        net.student[3].weight.add_(1.0)
        net.student[3].bias.add_(1.0)
    expected = tiny().train()
    expected.load_state_dict(net.student.state_dict())
    answer = net(images)
    torch.testing.assert_close(answer, expected(images))
    answer.sum().backward()
    assert all(p.grad is not None for p in net.student.parameters())
    assert torch.equal(net.teacher[3].weight, net.student[3].weight) and net.followed == 1


def test_in_evaluation_the_teacher_answers_and_nothing_moves():
    net = MeanTeacher(tiny()).train()
    with torch.no_grad():
        net.student[3].weight.add_(1.0)
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(net(image), net.teacher(image)) and not torch.equal(net(image), net.student(image))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Noise(torch.utils.data.Dataset):
    def __init__(self, length=10_000):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(i))
        return image, (image[0] > 0.5).long()


def darker(image, generator):
    return image * torch.rand((), generator=generator)


def stream(seed=0):
    return WithUnlabelled(Noise(), Noise(), darker, seed)


def loss(net, batch):
    images, labels, plain, changed, _ = batch
    scores, seen, guess = net(images, plain, changed)
    return {"labelled": cross_entropy(scores, labels), "unlabelled": consistency(seen, guess)}


def test_samples_depend_on_seed_and_index_alone():
    one, other = stream()[7], stream()[7]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[3], stream(1)[7][3])
    image, labels, plain, changed, mask = one
    assert torch.equal(image, Noise()[7][0]) and torch.equal(labels, Noise()[7][1]) and torch.equal(plain, image)
    assert (changed <= plain).all() and mask.shape == (1, 8, 8) and mask.dtype == torch.bool


def test_changes_have_nothing_to_do_with_the_augmentation_of_the_same_seed():
    def drawn(sample, generator):
        return torch.rand(3, 8, 8, generator=generator), sample[1]

    samples = WithUnlabelled(
        train.shuffled(Noise(20), 5, drawn), Noise(), lambda x, g: torch.rand(x.shape, generator=g), 5
    )
    labelled, changed = (torch.stack([samples[i][part] for i in range(20)]).flatten() for part in (0, 3))
    assert torch.corrcoef(torch.stack([labelled, changed]))[0, 1].abs() < 0.1


def test_it_trains_in_the_one_loop_and_resumes_to_the_same_bits(tmp_path):
    def run(checkpoint=None, stop=None):
        net = MeanTeacher(tiny(), 0.9)

        def interrupt(progress):
            if progress.step == stop:
                raise KeyboardInterrupt

        options = {"steps": 12, "batch_size": 4, "lr": 0.02, "checkpoint": checkpoint, "save_every": 0.0}
        try:
            history = train.fit(net, loss, stream(), on_step=interrupt, progress=False, **options)
        except KeyboardInterrupt:
            return None, None
        return net, history

    whole, history = run()
    assert history.losses["labelled"][-1] < history.losses["labelled"][0]
    assert set(history.losses) == {"labelled", "unlabelled"} and whole.followed == 12
    run(tmp_path / "half.pt", stop=5)
    resumed, _ = run(tmp_path / "half.pt")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match="decay 1"):
        MeanTeacher(tiny(), 1)


def test_a_student_that_was_evaluated_trains_in_training_mode():
    student = tiny().eval()  # as `fit` gives a net back
    modes = []

    def loss(net, batch):
        modes.append((net.student.training, net.teacher.training))
        return net(batch, batch, batch)[0].square().mean()

    train.fit(MeanTeacher(student, 0.9), loss, torch.rand(4, 3, 8, 8), steps=2, batch_size=2, progress=False)
    assert modes == [(True, False)] * 2


def test_changed_pictures_stay_out_of_the_running_statistics():
    net, images = MeanTeacher(tiny(), 0.9).train(), torch.rand(2, 3, 8, 8)
    alone = tiny().train()
    alone(images)
    net(images, images, 5 + 3 * torch.rand(2, 3, 8, 8))
    assert torch.equal(net.student[1].running_mean, alone[1].running_mean)
    assert torch.equal(net.student[1].running_var, alone[1].running_var)
    assert net.student[1].momentum == 0.1


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(1, momentum=None), nn.BatchNorm3d(1)])
def test_changed_pictures_leave_no_trace_in_any_norm(norm):
    shape = (2, 1, 2, 2) if isinstance(norm, nn.BatchNorm2d) else (2, 1, 2, 2, 2)
    norm(torch.zeros(shape))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with _statistics_kept(norm):
        norm(torch.ones(shape))
    assert all(torch.equal(value, norm.state_dict()[name]) for name, value in before.items())
    norm(torch.ones(shape))
    assert norm.running_mean.item() == pytest.approx(0.5 if norm.momentum is None else 0.1)


def test_pictures_without_labels_come_in_two_forms():
    net = MeanTeacher(nn.Conv2d(3, 2, 1))
    with pytest.raises(ValueError, match="only one of plain and changed"):
        net(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
