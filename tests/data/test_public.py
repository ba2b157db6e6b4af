"""What is there of a public set, and what is missing, on small made-up folders of empty layouts."""

import pytest

from xferlib.data import public
from xferlib.data.benchmarks import ISBI, CamVid, ImageFolder, Nuclei, ReflectionTriples

VOC = "VOCdevkit/VOC2012"
LAYOUTS = {
    "camvid": ["train/a.png", "trainannot/a.png", "train/b.jpg", "trainannot/b.png", "val/c.png", "valannot/c.png"],
    "isbi2012": ["image/00.png", "label/00.png", "image/01.tif", "label/01.tif"],
    "nuclei": ["image/a.jpg", "label/a.png"],
    "voc2012": [
        f"{VOC}/{path}"
        for path in (
            "ImageSets/Segmentation/train.txt", "JPEGImages/2007_1.jpg", "SegmentationClass/2007_1.png",
            "JPEGImages/2007_2.jpg", "SegmentationClass/2007_2.png",
        )
    ],
    "cityscapes": [
        "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png", "gtFine/train/ulm/ulm_0_gtFine_labelIds.png",
        "gtFine/train/ulm/ulm_0_gtFine_color.png",
    ],
    "photos": ["bsd/a.jpg", "b.png", "c/d/e.webp"],
    "reflection_synthetic": ["s-1-input.png", "s-1-label1.png", "s-1-label2.png"],
    "set5": ["baby.png", "bird.bmp"],
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name, paths in LAYOUTS.items():
        for path in paths:
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("2007_1\n2007_2\n" if file.suffix == ".txt" else "pixels")
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path))
    return tmp_path


def test_each_set_has_a_layout_here():
    assert set(LAYOUTS) == set(public.SETS)


@pytest.mark.parametrize("name", public.SETS)
def test_nothing_is_missing_of_a_whole_set(home, name):
    there = [part for part in public.check(name) if part.items]
    assert there and not any(part.missing for part in there)
    assert public.check(name) == public.check(name, home / name)


@pytest.mark.parametrize(("name", "reader"), [
    ("camvid", CamVid), ("isbi2012", ISBI), ("nuclei", Nuclei), ("photos", ImageFolder),
    ("reflection_synthetic", ReflectionTriples), ("set5", ImageFolder),
])  # fmt: skip
def test_it_counts_what_the_reader_reads(home, name, reader):
    assert len(reader(home / name)) == public.check(name)[0].items


@pytest.mark.parametrize(
    ("name", "path", "owner"),
    [
        ("camvid", "trainannot/b.png", "train/b.jpg"),
        ("isbi2012", "label/01.tif", "image/01.tif"),
        ("nuclei", "label/a.png", "image/a.jpg"),
        ("voc2012", f"{VOC}/SegmentationClass/2007_2.png", f"{VOC}/ImageSets/Segmentation/train.txt"),
        ("cityscapes", "gtFine/train/ulm/ulm_0_gtFine_labelIds.png", "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png"),
        ("reflection_synthetic", "s-1-label2.png", "s-1-input.png"),
    ],
)  # fmt: skip
def test_what_is_missing_or_empty_is_said_file_by_file(home, name, path, owner):
    file = home / name / path
    file.write_text("")
    (found,) = (part for part in public.check(name) if part.items and part.missing)
    assert found.missing == (f"{file}: the file is empty, wanted by {home / name / owner}",)
    file.unlink()
    (found,) = (part for part in public.check(name) if part.items and part.missing)
    assert found.missing == (f"{file}: no such file, wanted by {home / name / owner}",)


def test_an_empty_picture_is_named_and_what_is_no_picture_does_not_count(home):
    (home / "set5" / "butterfly.png").write_text("")
    (home / "set5" / "notes.txt").write_text("no picture")
    (home / "set5" / ".hidden.png").write_text("hidden")
    (found,) = public.check("set5")
    assert found.items == 3 and found.missing == (f"{home / 'set5' / 'butterfly.png'}: the file is empty",)


def test_a_part_that_is_not_there_has_one_line(home):
    train, val, test = public.check("camvid")
    assert (train.items, val.items, test.items) == (2, 1, 0)
    assert test.missing == (f"{home / 'camvid' / 'test/*'}: no such files",)


def test_the_overview_tells_whole_from_incomplete_from_absent(home):
    (home / "nuclei/label/a.png").unlink()
    (home / "set5").rename(home / "set5-elsewhere")
    (home / "isbi2012/image").rename(home / "isbi2012/slices")
    found = {name: what for name, _, what in public.overview()}
    assert found["camvid"] == "2 train, 1 val"
    assert found["nuclei"] == "1 pictures, incomplete"
    assert found["set5"] == "not found"
    assert found["isbi2012"] == "found, with another layout"


def test_what_cannot_be_looked_for_is_refused(home, monkeypatch):
    with pytest.raises(ValueError, match=r"no public set is named 'camvit'; did you mean 'camvid'?"):
        public.check("camvit")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; get the set from https://.*: train/"):
        public.check("camvid", home / "nowhere")
    monkeypatch.delenv("XFERLIB_DATA")
    with pytest.raises(FileNotFoundError, match="XFERLIB_DATA is not set; set it to the folder that holds camvid/"):
        public.check("camvid")


def test_a_file_without_an_ending_is_no_picture(home):
    for name, folder in (("camvid", "train"), ("photos", "bsd"), ("isbi2012", "image"), ("set5", ".")):
        before = public.check(name)
        (home / name / folder / "LICENSE").write_text("what it allows")
        assert public.check(name) == before
