"""The losses of Mask R-CNN by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from xferlib.losses.detection import mask_loss, mask_rcnn_loss, proposal_loss
from xferlib.nets.mask_rcnn import Learned
from xferlib.nets.rpn import Proposals

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 18]])


def proposals(objectness=0.0, deltas=0.0):
    return Proposals(ANCHORS, torch.zeros(3).long(), torch.full((1, 3), objectness), torch.full((1, 3, 4), deltas))


def test_an_undecided_net_pays_log_two_for_each_anchor():
    # Overlaps with the one box: 1, 0 and 100 / 180, which is neither object nor background.
    terms = proposal_loss(proposals(), [ANCHORS[:1]])
    assert terms["objectness"].item() == pytest.approx(math.log(2))
    assert terms["anchor boxes"].item() == 0


def test_anchor_boxes_by_hand():
    # One object of code 0 among two chosen anchors; each of its four differences of 1 costs 1 - 1/18.
    terms = proposal_loss(proposals(deltas=1.0), [ANCHORS[:1]])
    assert terms["anchor boxes"].item() == pytest.approx(4 * (1 - 1 / 18) / 2)


def test_the_code_of_an_object_by_hand():
    # The anchor of 10 by 10 is an object, for it overlaps by .8; the next is background and the last neither. Of the
    # code (0, -1/10, 0, ln .8) the second is below the bend at 1/9 and the fourth above.
    terms = proposal_loss(proposals(), [torch.tensor([[0.0, 0, 10, 8]])])
    assert terms["anchor boxes"].item() == pytest.approx((0.5 * 0.1**2 * 9 + math.log(1.25) - 1 / 18) / 2)


def softplus(x):
    return math.log1p(math.exp(x))


def test_the_best_anchor_of_a_box_is_an_object_below_the_threshold():
    terms = proposal_loss(proposals(objectness=2.0), [torch.tensor([[0.0, 0, 10, 6]])])  # it overlaps by .6
    assert terms["objectness"].item() == pytest.approx((softplus(-2) + softplus(2)) / 2)
    assert terms["anchor boxes"].item() > 0


@pytest.mark.parametrize(("objects", "ground", "chosen"), [(20, 30, (5, 5)), (3, 30, (3, 7)), (40, 2, (5, 2))])
def test_half_of_the_anchors_to_learn_from_are_objects_at_most(objects, ground, chosen):
    anchors = torch.cat([ANCHORS[:1].expand(objects, 4), ANCHORS[1:2].expand(ground, 4)])
    number = len(anchors)
    found = Proposals(anchors, torch.zeros(number).long(), torch.full((1, number), 2.0), torch.ones(1, number, 4))
    terms = proposal_loss(found, [ANCHORS[:1]], count=10)
    wanted = chosen[0] * softplus(-2) + chosen[1] * softplus(2)
    assert terms["objectness"].item() == pytest.approx(wanted / sum(chosen))
    assert terms["anchor boxes"].item() == pytest.approx(chosen[0] * 4 * (1 - 1 / 18) / sum(chosen))


def test_without_objects_only_the_ground_counts():
    terms = proposal_loss(proposals(objectness=-3.0), [torch.zeros(0, 4)])
    assert terms["objectness"].item() == pytest.approx(math.log1p(math.exp(-3)))
    assert terms["anchor boxes"].item() == 0


def test_only_the_mask_of_the_true_class_counts():
    logits = torch.randn(2, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    classes, masks = torch.tensor([3, 1]), torch.rand(2, 4, 4) > 0.5
    loss = mask_loss(logits, classes, masks)
    wanted = masks.double()
    by_hand = -(wanted * F.logsigmoid(logits[[0, 1], classes]) + (1 - wanted) * F.logsigmoid(-logits[[0, 1], classes]))
    assert loss.item() == pytest.approx(by_hand.mean().item())
    loss.backward()
    touched = logits.grad.flatten(2).abs().sum(2) > 0
    assert touched.nonzero().tolist() == [[0, 3], [1, 1]]


def test_coupled_masks_compete():
    logits = torch.randn(2, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    classes, masks = torch.tensor([3, 1]), torch.rand(2, 4, 4) > 0.5
    loss = mask_loss(logits, classes, masks, coupled=True)
    wanted = torch.where(masks, classes[:, None, None], 0)
    by_hand = -logits.log_softmax(1).gather(1, wanted[:, None]).mean()
    assert loss.item() == pytest.approx(by_hand.item())
    loss.backward()
    assert (logits.grad != 0).all()


def test_no_object_costs_no_mask_and_still_trains():
    logits = torch.zeros(0, 5, 4, 4, requires_grad=True)
    for coupled in (False, True):
        loss = mask_loss(logits, torch.zeros(0).long(), torch.zeros(0, 4, 4, dtype=torch.bool), coupled=coupled)
        assert loss.item() == 0
        loss.backward()


@pytest.mark.parametrize(
    ("logits", "classes", "masks"),
    [
        ((2, 3, 4, 4), torch.tensor([1]), (1, 4, 4)),
        ((2, 3, 4, 4), torch.tensor([1]), (2, 4, 4)),
        ((1, 3, 4, 4), torch.tensor([1]), (2, 4, 4)),
        ((1, 3, 4, 4), torch.tensor([1]), (1, 4, 5)),
        ((1, 3, 4, 4), torch.tensor([1.0]), (1, 4, 4)),
    ],
)
def test_what_does_not_belong_together_is_named(logits, classes, masks):
    with pytest.raises(ValueError, match=r"expected \(P, C, M, M\), \(P,\) integers and \(P, M, M\)"):
        mask_loss(torch.zeros(logits), classes, torch.ones(masks, dtype=torch.bool))


def test_gradients():
    torch.manual_seed(0)
    classes, masks = torch.tensor([2, 1]), torch.rand(2, 3, 3) > 0.5
    logits = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    for coupled in (False, True):
        assert torch.autograd.gradcheck(lambda x, c=coupled: mask_loss(x, classes, masks, coupled=c), logits)


@pytest.fixture
def learned():
    return Learned(
        proposals(),
        [ANCHORS[:1]],
        logits=torch.zeros(4, 3),
        classes=torch.tensor([0, 2, 0, 0]),
        codes=torch.zeros(1, 4),
        true_codes=torch.ones(1, 4),
        masks=torch.zeros(1, 3, 2, 2),
        true_masks=torch.tensor([[[True, False], [True, True]]]),
    )


def test_all_five_terms(learned):
    terms = mask_rcnn_loss(learned)
    assert terms["classes"].item() == pytest.approx(math.log(3))
    assert terms["boxes"].item() == pytest.approx(4 * (1 - 1 / 18) / 4)  # over all sampled boxes, as Fast R-CNN
    assert terms["masks"].item() == pytest.approx(math.log(2))
    assert list(terms) == ["objectness", "anchor boxes", "classes", "boxes", "masks"]


def test_masks_that_compete_are_compared_as_such(learned):
    terms = mask_rcnn_loss(learned, coupled=True)
    assert terms["masks"].item() == pytest.approx(math.log(3))
