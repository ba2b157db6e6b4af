"""COCO's average precision: by hand on tiny pictures, and against pycocotools on random and adversarial ones."""

import contextlib
import gc
import io
import math
import random
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import tensor

from xferlib.metrics import _coco
from xferlib.metrics.instances import AREAS, AveragePrecision, average_precision
from xferlib.ops.instances import Instances

SMALL = {"small": (0, 16), "medium": (16, 60), "large": (60, math.inf)}
KINDS = ("masks", "boxes")
SIZE = (24, 40)


# The oracle


def dataset(images, objects, of):
    """Write lists of Instances as COCO does; the area of a true box is that of the box."""
    annotations = []
    for image, part in enumerate(objects, start=1):
        for i, c in enumerate(part.classes.tolist()):
            x1, y1, x2, y2 = part.boxes[i].double().tolist()
            code = rle.encode(np.asfortranarray(part.masks[i].numpy().astype(np.uint8)))
            area = (x2 - x1) * (y2 - y1) if of == "boxes" else float(rle.area(code))
            shape = {"bbox": [x1, y1, x2 - x1, y2 - y1]} if of == "boxes" else {"segmentation": code}
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": c, "iscrowd": 0, "area": area}
            annotations.append(row | shape | ({} if part.scores is None else {"score": part.scores[i].item()}))
    classes = sorted({row["category_id"] for row in annotations})
    return {"images": images, "categories": [{"id": c} for c in classes], "annotations": annotations}


def pycocotools(predictions, truths, of, areas=SMALL, detections=100):
    """Evaluate, and hand back the evaluation: its precision is (10, 101, classes, areas, 1)."""
    images = [{"id": i, "height": t.masks.shape[1], "width": t.masks.shape[2]} for i, t in enumerate(truths, start=1)]
    true, found = COCO(), COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        true.dataset = dataset(images, truths, of)
        true.createIndex()
        rows = dataset(images, predictions, of)["annotations"]
        if rows:
            found = true.loadRes(rows)
        else:
            found.dataset = true.dataset | {"annotations": []}
            found.createIndex()
        run = COCOeval(true, found, "bbox" if of == "boxes" else "segm")
        run.params.maxDets = [detections]
        run.params.areaRng = [[0, 1e10], *([low, min(high, 1e10)] for low, high in areas.values())]
        run.params.areaRngLbl = ["all", *areas]
        run.evaluate()
        run.accumulate()
    return run


def figures(precision, areas):
    def mean(values):
        return values[values > -1].mean() if (values > -1).any() else math.nan

    found = {
        "AP": mean(precision[..., 0, 0]),
        "AP50": mean(precision[0, ..., 0, 0]),
        "AP75": mean(precision[5, ..., 0, 0]),
    }
    return found | {f"AP {name}": mean(precision[..., place, 0]) for place, name in enumerate(areas, start=1)}


def check(predictions, truths, areas=SMALL, detections=100, kinds=KINDS):
    """See that all our figures are pycocotools', class by class too."""
    for of in kinds:
        theirs = pycocotools(predictions, truths, of, areas, detections)
        precision = theirs.eval["precision"]
        ours = AveragePrecision(of=of, areas=areas, detections=detections)
        for prediction, truth in zip(predictions, truths, strict=True):
            ours.add(prediction, truth)
        known = theirs.params.catIds
        assert ours.result() == pytest.approx(figures(precision, areas), abs=1e-6, nan_ok=True), of
        by_class = ours.by_class()
        assert set(known) <= set(by_class)
        for c, scores in by_class.items():
            expected = precision[:, :, [known.index(c)]] if c in known else np.full((10, 101, 1, 1 + len(areas), 1), -1)
            assert scores == pytest.approx(figures(expected, areas), abs=1e-6, nan_ok=True), (of, c)


# Pictures


def rectangles(corners, classes=None, scores=None, size=SIZE):
    """Objects that fill the boxes (x1, y1, x2, y2), whole pixels."""
    masks = torch.zeros(len(corners), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1:y2, x1:x2] = True
    return Instances(
        tensor(corners, dtype=torch.float32).reshape(-1, 4),
        tensor(classes or [1] * len(corners)),
        masks,
        None if scores is None else tensor(scores),
    )


def nothing(size=SIZE, scored=False):
    return rectangles([], [], [] if scored else None, size)._replace(classes=torch.zeros(0, dtype=torch.int64))


def box(dice, size, longest):
    (x1, x2), (y1, y2) = (
        (a, a + dice.randint(1, min(longest, side - a))) for side in size[::-1] for a in [dice.randrange(side)]
    )
    return x1, y1, x2, y2


def moved(dice, corners, size):
    x1, y1, x2, y2 = (a + dice.choice([-1, 0, 0, 0, 1]) for a in corners)
    x1, y1 = (min(max(a, 0), side - 1) for a, side in ((x1, size[1]), (y1, size[0])))
    return x1, y1, min(max(x2, x1 + 1), size[1]), min(max(y2, y1 + 1), size[0])


def scene(seed, most=12, num_classes=3, size=SIZE, longest=14):
    """Give a random (prediction, truth): moved, missed, doubled, invented objects, ragged masks, equal scores."""
    dice = random.Random(seed)
    true = [box(dice, size, longest) for _ in range(dice.randint(0, most))]
    classes = [dice.randint(1, num_classes) for _ in true]
    found = [
        (moved(dice, corners, size), c if dice.random() < 0.9 else dice.randint(1, num_classes + 1))
        for corners, c in zip(true, classes, strict=True)
        for _ in range(dice.choice([0, 1, 1, 1, 2]))
    ]
    found += [(box(dice, size, longest), dice.randint(1, num_classes + 1)) for _ in range(dice.randint(0, most // 2))]
    dice.shuffle(found)
    scores = [dice.choice([0.25, 0.5, 0.75, dice.random()]) for _ in found]
    prediction = (
        rectangles([corners for corners, _ in found], [c for _, c in found], scores, size)
        if found
        else nothing(size, True)
    )
    truth = rectangles(true, classes, size=size) if true else nothing(size)
    holes = torch.rand(prediction.masks.shape, generator=torch.Generator().manual_seed(seed)) < 0.15 * dice.random()
    return prediction._replace(masks=prediction.masks & ~holes), truth


def permuted(objects, order):
    return Instances(*(None if part is None else part[order] for part in objects))


# By hand


def test_the_truth_itself_is_perfect_and_nothing_is_not():
    truth = rectangles([(0, 0, 3, 3), (5, 0, 10, 8), (20, 10, 40, 20)], [1, 1, 2])
    found = truth._replace(scores=tensor([0.9, 0.1, 0.5]))
    assert average_precision([found], [truth], areas=SMALL) == dict.fromkeys(
        ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large"], 1.0
    )
    missed = average_precision([nothing(scored=True)], [truth], areas=SMALL)
    assert missed == dict.fromkeys(missed, 0.0)
    scores = average_precision([found], [nothing()])
    assert all(math.isnan(value) for value in scores.values())
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("of", KINDS)
def test_a_false_alarm_before_a_hit_halves_the_precision(of):
    truth = rectangles([(0, 0, 4, 4)])
    found = rectangles([(0, 0, 4, 4), (10, 10, 14, 14)], scores=[0.5, 0.9])
    assert average_precision([found], [truth], of=of, areas={}) == {"AP": 0.5, "AP50": 0.5, "AP75": 0.5}
    after = found._replace(scores=tensor([0.9, 0.5]))
    assert average_precision([after], [truth], of=of, areas={})["AP"] == 1


def test_one_of_two_found_covers_51_of_101_recalls():
    truth = rectangles([(0, 0, 4, 4), (10, 10, 14, 14)])
    found = rectangles([(0, 0, 4, 4)], scores=[0.5])
    assert average_precision([found], [truth])["AP"] == pytest.approx(51 / 101)


def test_a_hit_a_false_alarm_and_a_hit():
    # Precision 1 at recall 1/2, 1/2 at 1/2, 2/3 at 1: so 1 at the 51 recalls up to 1/2, 2/3 at the other 50.
    truth = rectangles([(0, 0, 4, 4), (10, 10, 14, 14)])
    found = rectangles([(0, 0, 4, 4), (20, 10, 24, 14), (10, 10, 14, 14)], scores=[0.9, 0.8, 0.7])
    assert average_precision([found], [truth])["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize("of", KINDS)
def test_an_overlap_of_the_threshold_is_enough(of):
    truth = rectangles([(0, 0, 20, 1)])
    found = [rectangles([(0, 0, n, 1)], scores=[0.5]) for n in (9, 10, 14, 15, 20)]
    scores = [average_precision([part], [truth], of=of, areas={}) for part in found]
    assert [part["AP50"] for part in scores] == [0, 1, 1, 1, 1]
    assert [part["AP75"] for part in scores] == [0, 0, 0, 1, 1]
    assert [part["AP"] for part in scores] == pytest.approx([0, 0.1, 0.5, 0.6, 1])


def test_classes_do_not_meet_and_weigh_the_same():
    truth = rectangles([(0, 0, 4, 4), (0, 10, 4, 14), (10, 10, 14, 14)], [1, 1, 7])
    found = rectangles([(0, 0, 4, 4), (0, 10, 4, 14), (10, 10, 14, 14)], [1, 1, 3], [0.9, 0.8, 0.7])
    total = AveragePrecision(areas={})
    total.add(found, truth)
    assert total.result()["AP"] == 0.5
    assert {c: part["AP"] for c, part in total.by_class().items()} == pytest.approx(
        {1: 1, 3: math.nan, 7: 0}, nan_ok=True
    )


def test_masks_and_boxes_disagree_where_the_masks_do():
    truth = rectangles([(0, 0, 10, 10)])
    frame = truth.masks.clone()
    frame[:, 2:8, 2:8] = False
    found = truth._replace(masks=frame, scores=tensor([1.0]))
    assert average_precision([found], [truth], of="boxes", areas={})["AP"] == 1
    assert average_precision([found], [truth], areas={})["AP"] == pytest.approx(0.3)  # 64 of 100 pixels


def test_ranges_of_area_leave_out_what_is_larger_or_smaller():
    truth = rectangles([(0, 0, 3, 3), (10, 0, 20, 10)])
    found = rectangles([(10, 0, 20, 10), (25, 0, 35, 10)], scores=[0.9, 0.8])
    scores = average_precision([found], [truth], areas={"small": (0, 9), "large": (10, math.inf), "huge": (200, 400)})
    assert (scores["AP small"], scores["AP large"]) == (0, 1) and math.isnan(scores["AP huge"])
    # Among the small ones neither the find nor the false alarm counts: both are large.
    both = rectangles([(10, 0, 20, 10), (25, 0, 35, 10), (0, 0, 3, 3)], scores=[0.9, 0.8, 0.1])
    scores = average_precision([both], [truth], areas={"small": (0, 9), "smaller": (0, 8)})
    assert scores["AP small"] == 1 and math.isnan(scores["AP smaller"])
    assert scores["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_ranges_of_coco():
    assert {"small": (0, 1024), "medium": (1024, 9216), "large": (9216, math.inf)} == AREAS


# Against pycocotools


@pytest.mark.parametrize("seed", range(20))
def test_random_scenes(seed):
    check(*zip(*(scene(100 * seed + i) for i in range(seed % 5 + 1)), strict=True))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_any_scenes(seeds, detections, num_classes):
    images = [scene(seed, most=6, num_classes=num_classes, size=(12, 16), longest=8) for seed in seeds]
    check(*zip(*images, strict=True), detections=detections)


rows = st.lists(st.tuples(*[st.integers(0, 5)] * 4, st.integers(1, 2), st.sampled_from([0.1, 0.2, 0.3])), max_size=7)


@given(rows, rows)
@settings(max_examples=80, deadline=None)
def test_any_crowded_boxes(found, true):
    """Boxes in a corner of 8 by 8 pixels: overlaps by the dozen, many of them equal."""
    parts = []
    for chosen, scored in ((found, True), (true, False)):
        corners = [(x, y, x + 1 + w // 2, y + 1 + h // 2) for x, y, w, h, _, _ in chosen]
        scores = [row[5] for row in chosen] if scored else None
        parts.append(
            rectangles(corners, [row[4] for row in chosen], scores, (8, 8)) if chosen else nothing((8, 8), scored)
        )
    check(*([part] for part in parts), areas={"small": (0, 2), "medium": (2, 4), "large": (4, math.inf)})


def test_boxes_between_pixels():
    generator = torch.Generator().manual_seed(3)
    truths, found = [], []
    for _ in range(4):
        corners = torch.rand(15, 2, generator=generator) * 30
        corners = torch.cat([corners, corners + 2 + torch.rand(15, 2, generator=generator) * 20], 1)
        shaken = corners + torch.randn(15, 4, generator=generator) * 0.8
        classes = torch.randint(1, 3, (15,), generator=generator)
        masks = torch.zeros(15, 60, 60, dtype=torch.bool)
        truths.append(Instances(corners, classes, masks))
        found.append(Instances(shaken, classes, masks, torch.rand(15, generator=generator)))
    check(found, truths, areas={"small": (0, 100.5), "large": (100.5, math.inf)}, kinds=["boxes"])


def test_images_without_truth_and_without_detections():
    full, bare = scene(5), (nothing(scored=True), nothing())
    images = [bare, (full[0], nothing()), bare, full, (nothing(scored=True), full[1])]
    check(*zip(*images, strict=True))
    check(*zip(bare, strict=True))
    check([full[0]], [nothing()])
    check([nothing(scored=True)], [full[1]])
    assert all(math.isnan(value) for value in AveragePrecision().result().values())


def test_equal_scores_keep_their_order_within_and_across_images():
    truth = rectangles([(0, 0, 4, 4), (10, 0, 14, 4)])
    hits_last = rectangles([(0, 10, 4, 14), (0, 0, 4, 4), (10, 0, 14, 4)], scores=[0.5] * 3)
    hits_first = permuted(hits_last, [1, 2, 0])
    for images in ([hits_last, hits_first], [hits_first, hits_last], [hits_last, hits_last]):
        check(images, [truth, truth])
    scores = [
        average_precision(images, [truth] * 2)["AP"] for images in ([hits_last, hits_first], [hits_first, hits_last])
    ]
    assert scores[0] < scores[1]


def test_of_true_objects_that_are_equally_close_the_last_is_taken():
    # The first, sure detection overlaps both alike; what is left decides whether the second finds its own.
    truth = rectangles([(0, 0, 6, 4), (2, 0, 8, 4)])
    for rest in ((0, 0, 6, 4), (2, 0, 8, 4)):
        found = rectangles([(1, 0, 7, 4), rest], scores=[0.9, 0.8])
        for order in ([0, 1], [1, 0]):
            check([found], [permuted(truth, order)])


def test_an_optional_object_is_taken_only_if_no_other_is():
    # Of area 24 and 20: a range that ends in between makes one of them optional.
    truth = rectangles([(0, 0, 6, 4), (0, 0, 5, 4)])
    found = rectangles([(0, 0, 6, 4), (0, 0, 5, 4), (0, 0, 6, 4)], scores=[0.9, 0.8, 0.7])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        check([permuted(found, order)], [truth], areas={"low": (0, 22), "high": (22, 99), "none": (21, 22)})


def test_sizes_at_the_ends_of_a_range():
    truth = rectangles([(0, 0, 4, 4), (10, 0, 14, 4), (20, 0, 25, 3), (30, 0, 35, 4)])
    found = truth._replace(scores=tensor([0.4, 0.3, 0.2, 0.1]))
    for areas in ({"a": (0, 16), "b": (16, 20)}, {"a": (0, 15), "b": (15, 15)}, {"a": (16, 16), "b": (17, 19)}):
        check([found], [truth], areas=areas)
    scores = average_precision([found], [truth], areas={"to": (0, 16), "from": (16, 99), "off": (17, 19)})
    assert (scores["AP to"], scores["AP from"]) == (1, 1) and math.isnan(scores["AP off"])


@pytest.mark.parametrize("detections", [1, 2, 5, 100])
def test_more_detections_than_count(detections):
    images = [scene(seed, most=14) for seed in (40, 41, 42)]
    check(*zip(*images, strict=True), detections=detections)


def test_each_class_has_its_own_share_of_detections():
    truth = rectangles([(0, 0, 4, 4), (10, 0, 14, 4)], [1, 2])
    found = truth._replace(scores=tensor([0.9, 0.1]))
    assert average_precision([found], [truth], detections=1)["AP"] == 1


def test_duplicates():
    prediction, truth = scene(7)
    doubled = permuted(prediction, torch.arange(len(prediction.classes)).repeat(3))
    twice = permuted(truth, torch.arange(len(truth.classes)).repeat(2))
    check([doubled, doubled, prediction], [truth, twice, twice])


def test_every_overlap_that_touches_a_threshold():
    images = []
    for n in range(1, 21):
        images.append(
            (
                rectangles([(0, 0, n, 2), (20, 5, 20 + n, 9)], [1, 2], [n / 20, 0.5]),
                rectangles([(0, 0, 20, 2), (20, 5, 40, 9)], [1, 2]),
            )
        )
        check(*zip(images[-1], strict=True), areas={})
    check(*zip(*images, strict=True))


def test_hundreds_of_objects():
    cells = [(8 * (i % 20), 8 * (i // 20)) for i in range(400)]
    dice = random.Random(0)
    true = [(x, y, x + dice.randint(4, 8), y + dice.randint(4, 8)) for x, y in cells]
    classes = [i % 4 + 1 for i in range(400)]
    found = [moved(dice, corners, (160, 160)) for corners in true]
    prediction = rectangles(found, classes, [round(dice.random(), 2) for _ in found], (160, 160))
    truth = rectangles(true, classes, size=(160, 160))
    check([prediction], [truth], areas={"small": (0, 36)}, detections=500)


def test_large_objects_in_a_picture_of_odd_size():
    check(*zip(*(scene(seed, size=(71, 150), longest=140) for seed in (60, 61, 62)), strict=True), areas=AREAS)


def test_autocast_rounds_no_count_of_pixels():
    truth = rectangles([(0, 0, 37, 23)])
    found = rectangles([(0, 0, 37, 23), (0, 0, 37, 12)], scores=[0.5, 0.9])  # 12 of 23 rows are just enough
    expected = average_precision([found], [truth], areas={})
    with torch.autocast("cpu", torch.bfloat16):
        assert average_precision([found], [truth], areas={}) == expected
    counts = [_coco.overlaps(found, truth, "masks")]
    with torch.autocast("cpu", torch.bfloat16):
        counts.append(_coco.overlaps(found, truth, "masks"))
    assert all(np.array_equal(a, b) for a, b in zip(*counts, strict=True))


def test_masks_without_pixels_find_nothing():
    prediction, truth = scene(9)
    bare = prediction._replace(masks=prediction.masks & (torch.arange(len(prediction.classes)) % 3 > 0)[:, None, None])
    check([bare], [truth], kinds=["masks"])
    flat = prediction._replace(boxes=prediction.boxes[:, [0, 1, 0, 3]])
    check([flat], [truth], kinds=["boxes"])


def test_cocos_own_summary():
    images = [scene(seed, size=(240, 320), longest=200) for seed in range(80, 84)]
    predictions, truths = zip(*images, strict=True)
    run = pycocotools(predictions, truths, "masks", AREAS)
    run.params.maxDets = [1, 10, 100]
    with contextlib.redirect_stdout(io.StringIO()):
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert list(average_precision(predictions, truths).values()) == pytest.approx(run.stats[:6].tolist(), abs=1e-6)


# Fed image by image


def test_sums_are_as_if_fed_in_one():
    images = [scene(seed) for seed in range(20, 26)]
    parts = [AveragePrecision(areas=SMALL, detections=3) for _ in range(3)]
    for i, image in enumerate(images):
        parts[i // 2].add(*image)
    expected = average_precision(*zip(*images, strict=True), areas=SMALL, detections=3)
    before = parts[0].result()
    assert sum(parts, AveragePrecision(areas=SMALL, detections=3)).result() == expected != before
    assert parts[0].result() == pytest.approx(before, nan_ok=True)
    with pytest.raises(TypeError):
        parts[0] + 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (AveragePrecision(of="boxes"), r"settings \('masks', .* and \('boxes', .* do not add up"),
        (AveragePrecision(areas={}), r"and \('masks', \[\], 100\) do not add up"),
        (AveragePrecision(areas=dict(reversed(AREAS.items()))), r"and \('masks', \[\('large'"),
        (AveragePrecision(detections=5), r"100\) and .* 5\) do not add up"),
    ],
)
def test_sums_of_unlike_settings(other, message):
    with pytest.raises(ValueError, match=message):
        AveragePrecision() + other


def test_masks_are_not_kept():
    prediction, truth = scene(3)
    total = AveragePrecision()
    total.add(prediction, truth)
    masks = [weakref.ref(part.masks) for part in (prediction, truth)]
    del prediction, truth
    gc.collect()
    assert [mask() for mask in masks] == [None, None]
    assert not math.isnan(total.result()["AP"])


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_where_scores_differ(seed, dice):
    prediction, truth = scene(seed)
    n = len(prediction.classes)
    prediction = prediction._replace(scores=torch.linspace(0.1, 0.9, n))
    order = dice.sample(range(n), n)
    here, there = (
        average_precision([part], [truth], areas=SMALL) for part in (prediction, permuted(prediction, order))
    )
    assert here == pytest.approx(there, nan_ok=True)


def test_only_the_order_of_scores_matters():
    prediction, truth = scene(12)
    squared = prediction._replace(scores=prediction.scores.double() ** 2 * 7 - 3)
    assert average_precision([prediction], [truth]) == pytest.approx(average_precision([squared], [truth]), nan_ok=True)


def test_a_stricter_threshold_scores_lower():
    prediction, truth = zip(*(scene(seed) for seed in range(4)), strict=True)
    scores = average_precision(prediction, truth, areas={})
    assert 1 > scores["AP50"] > scores["AP75"] > 0 and scores["AP50"] > scores["AP"] > 0


def test_nothing_is_changed_in_place():
    objects = scene(15)
    before = [None if part is None else part.clone() for both in objects for part in both]
    areas = dict(SMALL)
    average_precision(*([part] for part in objects), areas=areas)
    after = [part for both in objects for part in both]
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert areas == SMALL


# Bad input

FOUND = rectangles([(0, 0, 4, 4), (10, 0, 14, 4)], [1, 2], [0.5, 0.6])
TRUE = FOUND._replace(scores=None)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (TRUE, TRUE, "prediction has no scores"),
        (FOUND._replace(scores=tensor([0.5])), TRUE, r"scores \(1,\) for 2 objects"),
        (FOUND._replace(scores=tensor([0.5, math.nan])), TRUE, "score 1 of the prediction is nan"),
        (
            FOUND._replace(classes=tensor([1])),
            TRUE,
            r"prediction: boxes \(2, 4\), classes \(1,\), masks \(2, 24, 40\) do",
        ),
        (FOUND, TRUE._replace(boxes=TRUE.boxes[:1]), r"truth: boxes \(1, 4\), classes \(2,\), masks \(2, 24, 40\) do"),
        (FOUND, TRUE._replace(boxes=TRUE.boxes[:, :3]), r"truth: boxes \(2, 3\)"),
        (FOUND._replace(masks=FOUND.masks[0]), TRUE, r"masks \(24, 40\) do not belong together"),
        (FOUND._replace(masks=FOUND.masks[:, 1:]), TRUE, r"pictures \(23, 40\) and \(24, 40\)"),
        (FOUND._replace(masks=FOUND.masks.float()), TRUE, "masks of the prediction are torch.float32; expected bool"),
        (FOUND, TRUE._replace(masks=TRUE.masks.byte()), "masks of the truth are torch.uint8; expected bool"),
        (FOUND._replace(classes=tensor([1.0, 2.0])), TRUE, "classes of the prediction are torch.float32"),
        (FOUND, TRUE._replace(classes=tensor([True, True])), "classes of the truth are torch.bool"),
        (FOUND._replace(classes=tensor([1, 0])), TRUE, "prediction has an object of class 0"),
        (FOUND, TRUE._replace(boxes=-TRUE.boxes), r"boxes of the truth: \[.*\] is inverted"),
        (FOUND._replace(boxes=FOUND.boxes * math.nan), TRUE, r"boxes of the prediction: \[nan.*\] is .* not finite"),
    ],
)
def test_bad_objects(prediction, truth, message):
    for of in KINDS:
        with pytest.raises(ValueError, match=message):
            average_precision([prediction], [truth], of=of)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "points"}, "of 'points' is neither"),
        ({"areas": {"odd": (9, 4)}}, "area 'odd' from 9 to 4"),
        ({"areas": {"odd": (-1, 4)}}, "area 'odd' from -1 to 4"),
        ({"areas": {"odd": (0, math.nan)}}, "area 'odd' from 0 to nan"),
        ({"detections": 0}, "detections 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        AveragePrecision(**options)


def test_as_many_predictions_as_truths():
    with pytest.raises(ValueError, match="1 predictions for 2 truths"):
        average_precision([FOUND], [TRUE, TRUE])
