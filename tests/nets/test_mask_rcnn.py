"""Mask R-CNN: its parts against torchvision's with the same weights, its choices by hand, and odd batches."""

import math

import pytest
import torch

from xferlib.losses.detection import mask_rcnn_loss
from xferlib.nets.mask_rcnn import CODE, MaskRCNN
from xferlib.nets.roi_heads import BoxHead, MaskHead, Pooler, level_of
from xferlib.nets.rpn import RPN, Proposals, anchors
from xferlib.ops import boxes as box_ops
from xferlib.ops.instances import Instances
from xferlib.ops.masks import crop
from xferlib.ops.roi import roi_align
from xferlib.ops.views import View

# isort: split
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.poolers import LevelMapper

TINY = {
    "num_classes": 4,
    "depths": (1, 1, 1, 1),
    "widths": (8, 8, 16, 16),
    "expansion": 1,
    "stem": 8,
    "norm": "batch",
    "channels": 8,
    "anchors": (12, 24, 48, 96),
    "canonical": 112.0,
    "hidden": 16,
    "mask_width": 8,
    "candidates": 50,
    "proposals": 30,
    "sampled": 16,
    "detections": 12,
}
CHOICES = [{}, {"pyramid": False}, {"pooling": "pool"}, {"pooling": "warp"}, {"mask_head": "mlp"}, {"coupled": True}]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).eval()


@pytest.fixture(scope="module")
def full(peer):
    """Ours at full size, with torchvision's weights under our names."""
    net = MaskRCNN(91).eval()
    theirs = peer.state_dict()
    parts = {
        "backbone.": "backbone.body.",
        "rpn.conv": "rpn.head.conv.0.0",
        "rpn.objectness": "rpn.head.cls_logits",
        "rpn.deltas": "rpn.head.bbox_pred",
        "box_head.fc1": "roi_heads.box_head.fc6",
        "box_head.fc2": "roi_heads.box_head.fc7",
        "box_head.classes": "roi_heads.box_predictor.cls_score",
        "box_head.deltas": "roi_heads.box_predictor.bbox_pred",
        "mask_head.deconv": "roi_heads.mask_predictor.conv5_mask",
        "mask_head.masks": "roi_heads.mask_predictor.mask_fcn_logits",
        **{f"neck.lateral.{k}.": f"backbone.fpn.inner_blocks.{k}.0." for k in range(4)},
        **{f"neck.smooth.{k}.": f"backbone.fpn.layer_blocks.{k}.0." for k in range(4)},
        **{f"mask_head.conv{k + 1}": f"roi_heads.mask_head.{k}.0" for k in range(4)},
    }
    state = {}
    for key in net.state_dict():
        ours = next(part for part in parts if key.startswith(part))
        state[key] = theirs[parts[ours] + key.removeprefix(ours)]
    net.load_state_dict(state)
    return net


def test_as_many_weights_as_torchvisions(full, peer):
    count = sum(p.numel() for p in full.parameters())
    norms = [m for m in peer.modules() if isinstance(m, torch.nn.BatchNorm2d)]  # frozen only where it is pretrained
    theirs = sum(p.numel() for p in peer.parameters()) - sum(p.numel() for m in norms for p in m.parameters())
    assert count == 44_401_393 == theirs


@torch.no_grad()
def test_the_same_weights_give_torchvisions_answers(full, peer):
    image = torch.rand(1, 3, 96, 128)
    mine = full.levels(image)
    theirs = list(peer.backbone((image - full.mean) / full.std).values())
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())
    found = full.rpn(theirs)
    logits, deltas = peer.rpn.head(theirs)
    flat = [level.permute(0, 2, 3, 1).flatten(1) for level in logits]
    assert torch.allclose(found.objectness, torch.cat(flat, 1), rtol=1e-3, atol=1e-3 * max(map(torch.max, flat)).abs())
    flat = [level.permute(0, 2, 3, 1).reshape(1, -1, 4) for level in deltas]
    assert torch.allclose(found.deltas, torch.cat(flat, 1), rtol=1e-3, atol=1e-3 * max(map(torch.max, flat)).abs())
    cut = torch.rand(3, 256, 7, 7)
    classes, boxes = full.box_head(cut)
    heads = peer.roi_heads
    expected = heads.box_predictor(heads.box_head(cut))
    assert torch.allclose(classes, expected[0], atol=1e-4)
    assert torch.allclose(boxes.flatten(1), expected[1], atol=1e-4)
    cut = torch.rand(2, 256, 14, 14)
    masks = full.mask_head(cut)
    assert masks.shape == (2, 91, 28, 28)
    assert torch.allclose(masks, heads.mask_predictor(heads.mask_head(cut)), rtol=1e-3, atol=1e-4)


def test_anchors_by_hand():
    laid = anchors((1, 2), 16, [8], [1.0, 4.0])
    assert laid.tolist() == [[4, 4, 12, 12], [6, 0, 10, 16], [20, 4, 28, 12], [22, 0, 26, 16]]


def test_anchors_are_torchvisions_half_a_cell_on_and_unrounded():
    theirs = AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),))(
        ImageList(torch.zeros(1, 3, 64, 48), [(64, 48)]), [torch.zeros(1, 1, 8, 6)]
    )[0]
    assert (anchors((8, 6), 8, [32], (0.5, 1.0, 2.0)) - 4 - theirs).abs().max() <= 0.5


def test_levels_by_the_formula_and_by_torchvision():
    sides = torch.tensor([1.0, 56, 111, 112, 223, 224, 448, 2000])
    boxes = torch.cat([torch.zeros(8, 2), sides[:, None].repeat(1, 2)], 1)
    found = level_of(boxes, (4, 8, 16, 32))
    assert found.tolist() == [0, 0, 0, 1, 1, 2, 3, 3]
    assert torch.equal(found, LevelMapper(2, 5)([boxes]))
    assert level_of(boxes, (16,)).tolist() == [0] * 8
    assert level_of(torch.zeros(1, 4), (4, 8)).tolist() == [0]


def test_boxes_are_cut_from_their_levels_in_their_order():
    levels = [torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16)]
    small, large = [2.0, 3, 20, 25], [0.0, 0, 128, 120]
    boxes = [torch.tensor([large, small]), torch.tensor([small])]
    cut = Pooler((4, 8), 7, canonical=224.0)(levels, boxes)
    expected = [
        roi_align(levels[1], torch.tensor([[0, *large]]), 7, 1 / 8),
        roi_align(levels[0], torch.tensor([[0, *small]]), 7, 1 / 4),
        roi_align(levels[0], torch.tensor([[1, *small]]), 7, 1 / 4),
    ]
    assert torch.allclose(cut, torch.cat(expected), atol=1e-6)


def test_the_best_proposals_come_first_and_lie_in_the_picture():
    rpn = RPN(4, (8,), ((16,),), (1.0,), candidates=50, proposals=5)
    found = rpn([torch.rand(2, 4, 6, 8)])
    objectness = torch.zeros_like(found.objectness)
    objectness[0, 13] = 9.0
    objectness[1, 0] = 9.0
    found = found._replace(objectness=objectness, deltas=torch.zeros_like(found.deltas))
    first, second = rpn.propose(found, (48, 64))
    assert torch.allclose(first[0], found.anchors[13])
    assert second[0].tolist() == [0, 0, 12, 12]  # its anchor is -4, -4, 12, 12
    assert len(first) == len(second) == 5


def proposed(boxes, levels, scores, **options):
    """What is proposed in a picture of 40 pixels a side, where no anchor is to be changed."""
    rpn = RPN(4, (8, 16), ((16,), (32,)), **options)
    found = Proposals(torch.tensor(boxes), torch.tensor(levels), torch.tensor([scores]), torch.zeros(1, len(boxes), 4))
    return rpn.propose(found, (40, 40))[0].tolist()


def test_of_two_proposals_of_a_level_that_overlap_the_better_stays():
    # The second overlaps the first by .8, the third by .6 only; the last lies on another level.
    boxes, levels = [[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [0, 0, 10, 10]], [0, 0, 0, 1]
    scores = [4.0, 3, 2, 1]
    assert proposed(boxes, levels, scores) == [boxes[0], boxes[2], boxes[3]]
    assert proposed(boxes, levels, scores, threshold=0.5) == [boxes[0], boxes[3]]
    assert proposed(boxes, levels, scores, threshold=0.85) == boxes
    assert proposed(boxes, levels, scores, candidates=1) == [boxes[0], boxes[3]]  # of each level


def test_proposals_of_less_than_a_pixel_are_left_out():
    boxes = [[20.0, 20, 20.875, 30], [20, 20, 30, 20.875], [2, 20, 3, 30], [20, 2, 30, 3], [-5, 20, 0.5, 30]]
    assert proposed(boxes, [0] * 5, [5.0, 4, 3, 2, 1]) == boxes[2:4]


def scene(objects=3, size=(64, 80)):
    numbers = torch.zeros(size, dtype=torch.int64)
    for k in range(1, objects + 1):
        numbers[8 * k : 8 * k + 14, 15 * k : 15 * k + 12] = k
    return Instances.from_map(numbers, torch.arange(objects) % 3 + 1)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_full_and_empty_pictures_train_and_are_looked_at_together(choice):
    net = MaskRCNN(**{**TINY, **choice})
    images = torch.rand(3, 3, 64, 80)
    terms = mask_rcnn_loss(net(images, [scene(3), scene(0), scene(1)]), coupled=net.coupled)
    assert set(terms) == {"objectness", "anchor boxes", "classes", "boxes", "masks"}
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    net.eval()
    for found in net(images):
        n = len(found.scores)
        assert (found.boxes.shape, found.classes.shape, found.masks.shape) == ((n, 4), (n,), (n, 64, 80))
        assert found.masks.dtype == torch.bool and n <= 12
        assert torch.equal(found.scores, found.scores.sort(descending=True).values)
        assert ((found.classes >= 1) & (found.classes < 4)).all()
        inside = (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2:] <= torch.tensor([80.0, 64])).all()
        assert inside


@pytest.mark.parametrize("choice", CHOICES[:2], ids=str)
def test_pictures_without_any_object_train(choice):
    net = MaskRCNN(**{**TINY, **choice})
    terms = mask_rcnn_loss(net(torch.rand(2, 3, 64, 64), [scene(0, (64, 64))] * 2))
    assert terms["masks"] == terms["boxes"] == terms["anchor boxes"] == 0
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("size", [(33, 47), (64, 200), (5, 9)])
def test_any_size(size):
    net = MaskRCNN(**TINY).eval()
    (found,) = net(torch.rand(1, 3, *size))
    assert found.masks.shape[1:] == size


def test_nothing_found_is_no_error():
    net = MaskRCNN(**TINY, score=1.0).eval()
    (found,) = net(torch.rand(1, 3, 64, 64))
    assert [len(part) for part in found] == [0, 0, 0, 0]


def test_one_picture_is_looked_at_as_in_a_batch():
    net, images = MaskRCNN(**TINY, score=0.0).eval(), torch.rand(2, 3, 64, 96)
    for image, expected in zip(images, net(images), strict=True):
        found = net.detect(image)
        assert len(found.boxes) == TINY["detections"] and torch.equal(found.classes, expected.classes)
        assert torch.allclose(found.boxes, expected.boxes, atol=1e-3)
        assert torch.allclose(found.scores, expected.scores, atol=1e-5)
        assert (found.masks != expected.masks).float().mean() < 1e-3


def test_one_picture_and_a_number_of_views_are_asked_for():
    net = MaskRCNN(**TINY).eval()
    with pytest.raises(ValueError, match=r"image \(1, 3, 64, 96\); give one picture, \(3, H, W\)"):
        net.detect(torch.rand(1, 3, 64, 96))
    with pytest.raises(ValueError, match=r"images \(1, 1, 64, 96\)"):
        net.detect(torch.rand(1, 64, 96))
    with pytest.raises(ValueError, match="3 views; there are 1, 2"):
        net.detect(torch.rand(3, 64, 96), 3)


def test_eight_views_are_judged_on_their_mean():
    net, image = MaskRCNN(**TINY, score=0.0).eval(), torch.rand(3, 64, 96)
    levels = net.levels(image[None])
    (proposals,) = net.rpn.propose(net.rpn(levels), (64, 96))
    expected = []
    for quarters in range(4):
        for mirrored in (False, True):
            seen = image.rot90(quarters, (1, 2))
            seen = seen.flip(2) if mirrored else seen
            x = proposals[:, [0, 2]] - 48, proposals[:, [1, 3]] - 32  # from the picture's middle
            for _ in range(quarters):
                x = x[1], -x[0]
            across, down = (-x[0] if mirrored else x[0]), x[1]
            across, down = (across + seen.shape[2] / 2).sort(1).values, (down + seen.shape[1] / 2).sort(1).values
            boxes = torch.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], 1)
            logits, _ = net.box_head(net.box_pooler(net.levels(seen[None]), [boxes]))
            expected.append(logits.softmax(1))
    best = torch.stack(expected).mean(0)[:, 1:].max()
    found = net.detect(image, 8)
    assert found.scores[0].item() == pytest.approx(best.item(), abs=1e-5)
    assert abs(best - expected[0][:, 1:].max()) > 1e-4


def test_what_is_found_in_eight_views_turns_with_what_is_proposed(monkeypatch):
    net, image = MaskRCNN(**TINY, score=0.0).eval(), torch.rand(3, 64, 64)
    boxes = torch.tensor([[4.0, 8, 30, 40], [20, 2, 60, 22], [33, 31, 50, 63]])
    monkeypatch.setattr(net.rpn, "propose", lambda found, size: [boxes])
    straight = net.detect(image, 8)
    monkeypatch.setattr(net.rpn, "propose", lambda found, size: [View(1, True).boxes_in_view(boxes, (64, 64))])
    turned = net.detect(View(1, True).of(image), 8)
    assert torch.allclose(turned.scores, straight.scores, atol=1e-5)
    assert torch.allclose(turned.boxes, View(1, True).boxes_in_view(straight.boxes, (64, 64)), atol=1e-3)
    assert (turned.masks != View(1, True).of(straight.masks)).float().mean() < 1e-2


def test_two_objects_overlap_as_much_as_the_net_allows():
    image = torch.rand(3, 64, 64)
    counts = []
    for overlap in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        found = MaskRCNN(**{**TINY, "detections": 500}, score=0.0, overlap=overlap).eval().detect(image)
        of_one = [found.boxes[found.classes == c] for c in found.classes.unique()]
        most = max(box_ops.iou(boxes, boxes).fill_diagonal_(0).max() for boxes in of_one)
        assert most <= overlap + 1e-6
        counts.append(len(found.boxes))
    assert counts[0] < counts[1] < counts[2]


def test_the_same_seed_gives_the_same_loss():
    losses = []
    for _ in range(2):
        torch.manual_seed(5)
        net = MaskRCNN(**TINY)
        terms = mask_rcnn_loss(net(torch.linspace(0, 1, 3 * 64 * 80).view(1, 3, 64, 80), [scene()]))
        losses.append(sum(terms.values()).item())
    assert losses[0] == losses[1]


def test_a_scene_is_learned_by_heart():
    wider = {"widths": (16, 16, 32, 32), "stem": 16, "channels": 24, "hidden": 48, "mask_width": 16}
    net = MaskRCNN(**{**TINY, **wider, "norm": "group", "score": 0.5})
    truth = scene(3)
    image = 0.2 + 0.0 * torch.rand(1, 3, 64, 80)
    for mask, kind in zip(truth.masks, truth.classes, strict=True):
        image[0, kind - 1, mask] = 0.9
    solver = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(300):
        solver.zero_grad()
        sum(mask_rcnn_loss(net(image, [truth])).values()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        solver.step()
    (found,) = net.eval()(image)
    for mask, kind in zip(truth.masks, truth.classes, strict=True):
        shared = (found.masks & mask).flatten(1).sum(1) / (found.masks | mask).flatten(1).sum(1)
        assert (shared[found.classes == kind] > 0.65).any()


def test_heads_have_the_papers_shapes():
    assert MaskHead(256, 80)(torch.rand(1, 256, 14, 14)).shape == (1, 80, 28, 28)
    classes, boxes = BoxHead(16, 7, 5, 8)(torch.rand(2, 16, 7, 7))
    assert (classes.shape, boxes.shape) == ((2, 5), (2, 5, 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mask_head": "tree"}, "'tree' is not known; choose one of fcn, mlp"),
        ({"pooling": "max"}, "'max' is not known; choose one of align, warp, pool"),
        ({"anchors": (8, 16)}, "2 anchor sizes for 4 stages"),
    ],
)
def test_bad_choices_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        MaskRCNN(**{**TINY, **arguments})


def test_bad_truths_are_named():
    net, images = MaskRCNN(**TINY), torch.rand(2, 3, 64, 80)
    with pytest.raises(ValueError, match="1 truths for 2 images"):
        net(images, [scene()])
    with pytest.raises(ValueError, match=r"masks of \(64, 80\) for images of \(64, 79\)"):
        net(images[..., :79], [scene(0)] * 2)
    bad = scene()._replace(boxes=torch.full((3, 4), math.nan))
    with pytest.raises(ValueError, match="nan"):
        net(images, [bad, scene()])
    with pytest.raises(ValueError, match="class 4 of an object; this net's are 1 to 3"):
        net(images, [scene()._replace(classes=torch.tensor([1, 4, 2])), scene()])


@pytest.mark.parametrize(
    "images", [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte(), torch.rand(0, 3, 8, 8)]
)
def test_bad_images_are_named(images):
    with pytest.raises(ValueError, match=r"Mask R-CNN takes floats \(B, 3, H, W\)"):
        MaskRCNN(**TINY)(images)


def test_boxes_stay_exact_in_half_precision():
    net, images = MaskRCNN(**{**TINY, "norm": "group"}), torch.rand(1, 3, 64, 80)
    truth = scene()
    with torch.autocast("cpu", torch.bfloat16):
        learned = net(images, [truth])
        terms = mask_rcnn_loss(learned)
    exact = torch.cat([anchors((16 >> k, 20 >> k), 4 << k, [TINY["anchors"][k]], (0.5, 1.0, 2.0)) for k in range(3)])
    assert torch.equal(learned.proposals.anchors[: len(exact)], exact)
    sum(terms.values()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_each_candidate_learns_the_mask_the_class_and_the_code_of_its_object():
    net, truth = MaskRCNN(**{**TINY, "sampled": 64}), scene()
    net.rpn.propose = lambda found, size: [truth.boxes + torch.tensor([1.0, 1, 2, 0])]
    seen = {}
    net.mask_pooler.register_forward_pre_hook(lambda module, given: seen.update(boxes=given[1][0]))
    net.box_head.register_forward_hook(lambda module, given, result: seen.update(deltas=result[1]))
    learned = net(torch.rand(1, 3, 64, 80), [truth])
    boxes, kinds = seen["boxes"], learned.classes[learned.classes > 0]
    assert len(boxes) == 6  # the candidates and the true boxes themselves
    index = box_ops.iou(boxes, truth.boxes).argmax(1)
    assert torch.equal(kinds, truth.classes[index])
    assert torch.equal(learned.true_masks, crop(truth.masks[index], boxes, 28))
    assert not learned.true_masks.all() and learned.true_masks.any()
    assert torch.allclose(box_ops.decode(learned.true_codes, boxes, CODE), truth.boxes[index], atol=1e-4)
    assert torch.equal(learned.codes, seen["deltas"][torch.arange(6), kinds])


def test_a_quarter_of_the_sampled_proposals_are_objects_at_most():
    net, truth = MaskRCNN(**{**TINY, "sampled": 16}), scene(1)
    far = torch.tensor([[60.0, 40, 78, 60]])
    net.rpn.propose = lambda found, size: [torch.cat([truth.boxes.expand(100, 4), far.expand(100, 4)])]
    learned = net(torch.rand(1, 3, 64, 80), [truth])
    assert len(learned.classes) == len(learned.sampled[0]) == 16
    assert (learned.classes > 0).sum() == len(learned.masks) == 4


def test_a_mask_that_competes_wins_from_one_half_on():
    logits = torch.tensor([0.5, 0.2, 0.3]).log()[None, :, None, None]
    chosen = torch.tensor([2])
    assert MaskRCNN(**TINY, coupled=True).mask_of(logits, chosen).item() == pytest.approx(0.3 / 0.8)
    assert MaskRCNN(**TINY).mask_of(logits, chosen).item() == pytest.approx(0.3 / 1.3)


def test_nothing_is_cut_from_the_extra_level():
    net = MaskRCNN(**{**TINY, "anchors": (12, 24, 48, 96, 192)})
    assert net.rpn.strides == (4, 8, 16, 32, 64)
    assert net.box_pooler.strides == net.mask_pooler.strides == (4, 8, 16, 32)
