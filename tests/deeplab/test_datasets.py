"""Every data set by its own official layout, on folders of a few made images, and every mistake a user can make."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.datasets import DATASETS, VOID, checked_options, open_dataset
from deeplab.datasets.ade20k_classes import CLASS_NAMES as ADE20K_NAMES
from deeplab.datasets.cityscapes import CLASS_NAMES as CITYSCAPES_NAMES
from deeplab.datasets.files import ImagePair, search_and_heldout, shipped_ids, split_by_hash
from deeplab.datasets.palette import palette
from evaluation.errors import UserError


def write_image(path: Path, height: int = 6, width: int = 8, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return path


def write_mask(path: Path, values: np.ndarray, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(values.astype(np.uint8))
    if palette:
        mask.putpalette([3 * i % 256 for i in range(768)])
    mask.save(path)
    return path


def mask_of(*values: int, height: int = 6, width: int = 8) -> np.ndarray:
    """A mask whose first pixels have the given values and the rest the first of them."""
    mask = np.full(height * width, values[0])
    mask[: len(values)] = values
    return mask.reshape(height, width)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("val", 2), ("test", 2)):
        for number in range(count):
            write_image(tmp_path / part / f"{part}_{number:03d}.png", value=10 * number)
            write_mask(tmp_path / f"{part}annot" / f"{part}_{number:03d}.png", mask_of(3, 0, 10, 11))
    return tmp_path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    year = tmp_path / "VOCdevkit" / "VOC2012"
    ids = [f"2007_{number:06d}" for number in range(6)]
    for image_id in ids:
        write_image(year / "JPEGImages" / f"{image_id}.jpg")
        write_mask(year / "SegmentationClass" / f"{image_id}.png", mask_of(0, 20, 255), palette=True)
    write_image(year / "JPEGImages" / "2008_000001.jpg")  # detection only: listed nowhere, has no mask
    lists = year / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(ids[:2]) + "\n")
    (lists / "val.txt").write_text("\n".join(ids[2:]) + "\n")
    return tmp_path


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    for split, city, count in (
        ("train", "aachen", 2),
        ("train", "ulm", 1),
        ("val", "frankfurt", 4),
        ("val", "lindau", 1),
        ("val", "munster", 2),
        ("test", "berlin", 2),
    ):
        for number in range(count):
            stem = f"{city}_000000_{number:06d}"
            write_image(tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
            write_mask(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", mask_of(*range(34), 255))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(10):
        write_image(tmp_path / "images" / f"{number}.jpg")
        write_mask(tmp_path / "masks" / f"{number}.png", mask_of(0, 1, 255))
    (tmp_path / "classes.txt").write_text("floor\nforklift\n")
    return tmp_path


def test_camvid_layout(camvid: Path) -> None:
    dataset = open_dataset("camvid", camvid)
    assert len(dataset.class_names) == 11
    assert [len(dataset.split(name)) for name in ("train", "val", "test", "all")] == [3, 2, 2, 7]
    assert dataset.split("search").image_ids == dataset.split("val").image_ids
    assert dataset.split("heldout").image_ids == dataset.split("test").image_ids
    sample = dataset.split("train")[0]
    assert sample.image.shape == (6, 8, 3)
    assert sample.image.dtype == sample.label.dtype == np.uint8
    assert sample.label.reshape(-1)[:4].tolist() == [3, 0, 10, VOID]


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_official_layout(voc: Path, below: str) -> None:
    dataset = open_dataset("voc", voc / below)
    assert len(dataset.class_names) == 21
    assert [len(dataset.split(name)) for name in ("train", "val", "search", "heldout", "all")] == [2, 4, 2, 2, 6]
    halves = [set(dataset.split(name).image_ids) for name in ("search", "heldout")]
    assert halves[0].isdisjoint(halves[1])
    assert halves[0] | halves[1] == set(dataset.split("val").image_ids)
    assert dataset.split("val")[0].label.reshape(-1)[:3].tolist() == [0, 20, VOID]


def test_voc_lists_at_the_root(voc: Path) -> None:
    year = voc / "VOCdevkit" / "VOC2012"
    for name in ("train", "val"):
        (year / f"{name}.txt").write_text((year / "ImageSets" / "Segmentation" / f"{name}.txt").read_text())
        (year / "ImageSets" / "Segmentation" / f"{name}.txt").unlink()
    (year / "ImageSets" / "Segmentation").rmdir()
    assert len(open_dataset("voc", year).split("val")) == 4


def test_ade20k_official_layout_and_both_encodings(tmp_path: Path) -> None:
    for part, count in (("training", 3), ("validation", 4)):
        for number in range(count):
            write_image(tmp_path / "images" / part / f"ADE_{number}.jpg")
            write_mask(tmp_path / "annotations" / part / f"ADE_{number}.png", mask_of(0, 1, 31, 32, 150))
    dataset = open_dataset("ade20k", tmp_path)
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (3, 4)
    assert len(dataset.class_names) == 150
    assert dataset.split("val")[0].label.reshape(-1)[:5].tolist() == [VOID, 0, 30, 31, 149]
    assert dataset.void_classes == ()

    mobile = open_dataset("ade20k", tmp_path, classes=32)
    assert mobile.class_names[:3] == ("other", "wall", "building")
    assert len(mobile.class_names) == 32
    assert mobile.void_classes == (0,)
    assert mobile.split("val")[0].label.reshape(-1)[:5].tolist() == [VOID, 1, 31, VOID, VOID]


def test_ade20k_flat_layout(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "ADE_1.jpg")
    write_mask(tmp_path / "annotations" / "ADE_1.png", mask_of(5))
    dataset = open_dataset("ade20k", tmp_path)
    assert dataset.split("all").image_ids == ("ADE_1",)
    assert "train" not in dataset.splits


def test_ade20k_has_150_different_names_in_the_official_order() -> None:
    assert len(set(ADE20K_NAMES)) == 150
    assert [ADE20K_NAMES[i] for i in (0, 12, 20, 31, 80, 149)] == ["wall", "person", "car", "seat", "bus", "flag"]


# name, id and trainId of cityscapesScripts' labels.py, for the classes that have a trainId.
CITYSCAPES_LABELS = """
road 7 0, sidewalk 8 1, building 11 2, wall 12 3, fence 13 4, pole 17 5, traffic light 19 6, traffic sign 20 7,
vegetation 21 8, terrain 22 9, sky 23 10, person 24 11, rider 25 12, car 26 13, truck 27 14, bus 28 15, train 31 16,
motorcycle 32 17, bicycle 33 18
"""


def test_cityscapes_official_layout_and_table(cityscapes: Path) -> None:
    dataset = open_dataset("cityscapes", cityscapes)
    counts = {"train": 3, "val": 7, "search": 4, "heldout": 3, "all": 10, "test_images": 2}
    assert {name: len(dataset.split(name)) for name in dataset.splits} == counts
    expected = np.full(35, VOID)
    for entry in CITYSCAPES_LABELS.replace("\n", " ").split(","):
        name, value, label = entry.strip().rsplit(" ", 2)
        expected[int(value)] = int(label)
        assert dataset.class_names[int(label)] == name
    assert dataset.split("val")[0].label.reshape(-1)[:35].tolist() == expected.tolist()
    assert len(set(dataset.split("all").image_ids)) == 10
    assert dataset.split("val").image_ids[0] == "frankfurt_000000_000000"
    assert len(set(palette(CITYSCAPES_NAMES))) == 19


def test_cityscapes_search_and_heldout_are_different_cities(cityscapes: Path) -> None:
    dataset = open_dataset("cityscapes", cityscapes)
    cities = [{image_id.split("_")[0] for image_id in dataset.split(name).image_ids} for name in ("search", "heldout")]
    assert cities == [{"frankfurt"}, {"lindau", "munster"}]
    for city in ("lindau", "munster"):
        for path in (cityscapes / "leftImg8bit" / "val" / city).iterdir():
            path.unlink()
    dataset = open_dataset("cityscapes", cityscapes)
    halves = [set(dataset.split(name).image_ids) for name in ("search", "heldout")]
    assert [len(half) for half in halves] == [2, 2]
    assert halves[0].isdisjoint(halves[1])


def test_cityscapes_test_images_have_no_labels(cityscapes: Path) -> None:
    split = open_dataset("cityscapes", cityscapes).split("test_images")
    assert split.image(0).shape == (6, 8, 3)
    with pytest.raises(UserError, match="has no mask; unlabelled images serve for calibration"):
        split[0]


def test_cityscapes_train_ids_where_there_are_no_label_ids(cityscapes: Path) -> None:
    for path in sorted((cityscapes / "gtFine").glob("*/*/*_labelIds.png")):
        path.unlink()
        write_mask(path.with_name(path.name.replace("labelIds", "labelTrainIds")), mask_of(*range(19), 255))
    labels = open_dataset("cityscapes", cityscapes).split("val")[0].label
    assert labels.reshape(-1)[:20].tolist() == [*range(19), VOID]


def test_cityscapes_mistakes_are_named(cityscapes: Path) -> None:
    mask = cityscapes / "gtFine" / "val" / "lindau" / "lindau_000000_000000_gtFine_labelIds.png"
    write_mask(mask, mask_of(7, 34))
    with pytest.raises(UserError, match=r"labelIds\.png: label 34 at row 0, column 1; allowed are 0-33, 255"):
        open_dataset("cityscapes", cityscapes).split("val")[4]
    mask.unlink()
    with pytest.raises(UserError, match=r"lindau_000000_000000_leftImg8bit\.png: has no mask .*gtFine_trainvaltest"):
        open_dataset("cityscapes", cityscapes)
    with pytest.raises(UserError, match=r"leftImg8bit: no such folder; it is one level up: give the path "):
        open_dataset("cityscapes", cityscapes / "gtFine")


def test_folder_divides_by_a_hash_of_the_names(folder: Path) -> None:
    dataset = open_dataset("folder", folder)
    parts = [dataset.split(name).image_ids for name in ("train", "search", "heldout")]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(sum(parts, ())) == list(dataset.split("all").image_ids)
    assert [open_dataset("folder", folder).split(n).image_ids for n in ("train", "search", "heldout")] == parts


def test_folder_takes_lists(folder: Path) -> None:
    for name, ids in (("train", "3 4"), ("search", "0"), ("heldout", "9 8")):
        (folder / f"{name}.txt").write_text("# mine\n" + "\n".join(ids.split()) + "\n")
    dataset = open_dataset("folder", folder)
    assert dataset.split("heldout").image_ids == ("9", "8")
    (folder / "search.txt").write_text("4\n")
    with pytest.raises(UserError, match=r"search\.txt: image '4' is in train\.txt too"):
        open_dataset("folder", folder)
    (folder / "search.txt").unlink()
    with pytest.raises(UserError, match=r"search\.txt: no such file, but train\.txt is there"):
        open_dataset("folder", folder)


def test_folder_without_masks_serves_for_calibration_only(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png", value=7)
    split = open_dataset("folder", tmp_path).split("train")
    assert (split.image(0) == 7).all()
    with pytest.raises(UserError, match=r"a\.png: has no mask"):
        split[0]


def test_an_image_alone_needs_no_readable_mask(folder: Path) -> None:
    (folder / "masks" / "0.png").write_bytes(b"not an image")
    assert open_dataset("folder", folder).split("all").image(0).shape == (6, 8, 3)


def test_grey_and_palette_images_come_as_rgb(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((4, 5), 9, np.uint8)).save(tmp_path / "images" / "grey.png")
    assert open_dataset("folder", tmp_path).split("all").image(0).shape == (4, 5, 3)


def test_take_and_sequence(folder: Path) -> None:
    split = open_dataset("folder", folder).split("all")
    assert split.take(3).image_ids == split.image_ids[:3]
    assert len(split.take(99)) == 10
    assert split[-1].image_id == "9"
    assert [sample.image_id for sample in split[2:4]] == ["2", "3"]
    with pytest.raises(IndexError):
        split[10]


def test_fingerprint_follows_content(folder: Path) -> None:
    before = open_dataset("folder", folder).split("all").fingerprint()
    assert open_dataset("folder", folder).split("all").fingerprint() == before
    assert open_dataset("folder", folder).split("all").take(9).fingerprint() != before
    write_mask(folder / "masks" / "4.png", mask_of(1))
    assert open_dataset("folder", folder).split("all").fingerprint() != before


def test_unknown_names_say_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'camvid'"):
        open_dataset("camvit", folder)
    with pytest.raises(UserError, match="no split 'serach'; did you mean 'search'"):
        open_dataset("folder", folder).split("serach")
    with pytest.raises(UserError, match="no option 'class_name'; did you mean 'class_names'"):
        open_dataset("folder", folder, class_name=["a"])
    with pytest.raises(UserError, match="no option 'seed'; this data set takes no options"):
        open_dataset("camvid", folder, seed=1)
    with pytest.raises(UserError, match="no such home folder"):
        open_dataset("camvid", "~nosuchuser/x")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("streets", {"seed": "7"}, "seed: expected a whole number, found '7'"),
        ("streets", {"seed": True}, "seed: expected a whole number, found True"),
        ("streets", {"seed": -1}, "seed: should be greater than or equal to 0, found -1"),
        ("streets", {"seed": [1]}, r"seed: expected a whole number, found \[1\]"),
        ("streets", {"seed": 10**6000}, "seed: should be less than .*, found a number of thousands of digits"),
        ("streets", {"height": 33.5}, "height: expected a whole number, found 33.5"),
        ("streets", {"height": 64.0}, "height: expected a whole number, found 64.0"),
        ("streets", {"width": 10**6}, "width: should be less than or equal to 4096, found 1000000"),
        ("streets", {"train_images": 10**30}, "train_images: should be less than or equal to 1000000, found 1000"),
        ("streets", {"train_images": 0}, "train_images: should be greater than or equal to 1, found 0"),
        ("streets", {"1": 2}, "no option '1' .valid: seed, height, width, train_images"),
        ("ade20k", {"classes": 31}, "classes: should be 150 or 32, found 31"),
        ("folder", {"class_names": ["a", False]}, r"class_names\[1\]: expected a text, found False; put it in quotes"),
        ("folder", {"class_names": "road"}, "class_names: expected a list, found 'road'"),
        ("folder", {"class_names": {"road": 0}}, "class_names: expected a list, found {'road': 0}"),
        ("folder", {"void": None}, "void: expected a whole number or a list of them, found None"),
        ("folder", {"void": 3.5}, "void: expected a whole number or a list of them, found 3.5"),
        ("folder", {"void": "11"}, "void: expected a whole number or a list of them, found '11'"),
        ("folder", {"void": [11, None]}, r"void\[1\]: expected a whole number, found None"),
        ("folder", {"search_share": "half"}, "search_share: expected a number, found 'half'"),
        ("folder", {"search_share": float("nan")}, "search_share: should be "),
        ("folder", {"heldout_share": 1.5}, "heldout_share: should be less than or equal to 1, found 1.5"),
    ],
)  # fmt: skip
def test_options_are_strict_and_refused_in_one_line(name: str, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        checked_options(DATASETS[name].options, options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_default_splits_exist_and_share_no_image(camvid: Path) -> None:
    datasets = {"streets": open_dataset("streets"), "camvid": open_dataset("camvid", camvid)}
    for name, dataset in datasets.items():
        use = DATASETS[name].splits
        ids = [dataset.split(split).image_ids for split in (use.search, use.heldout, use.train)]
        assert len(set().union(*ids)) == sum(map(len, ids))


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "streets"])
def test_missing_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        open_dataset(name, tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs path"):
        open_dataset(name)
    with pytest.raises(UserError, match="no such f"):
        open_dataset(name, tmp_path)


def test_image_without_its_mask(camvid: Path, voc: Path) -> None:
    (camvid / "valannot" / "val_001.png").unlink()
    with pytest.raises(UserError, match=r"val_001\.png: has no mask"):
        open_dataset("camvid", camvid)
    year = voc / "VOCdevkit" / "VOC2012"
    (year / "SegmentationClass" / "2007_000003.png").unlink()
    with pytest.raises(UserError, match=r"2007_000003\.jpg: has no mask"):
        open_dataset("voc", voc)
    (year / "JPEGImages" / "2007_000003.jpg").unlink()
    with pytest.raises(UserError, match=r"val\.txt: line 2 names image '2007_000003', which is not there"):
        open_dataset("voc", voc)


def expect_bad_sample(folder: Path, message: str) -> None:
    split = open_dataset("folder", folder).split("all")
    with pytest.raises(UserError, match=message) as caught:
        split[0]
    assert "\n" not in str(caught.value)


def test_mask_of_another_size(folder: Path) -> None:
    write_mask(folder / "masks" / "0.png", mask_of(0, height=6, width=7))
    expect_bad_sample(folder, r"masks/0\.png: mask is 7x6, its image 0\.jpg 8x6")


def test_label_out_of_range_says_value_and_place(folder: Path) -> None:
    values = mask_of(0)
    values[2, 5] = 2
    write_mask(folder / "masks" / "0.png", values)
    expect_bad_sample(folder, r"masks/0\.png: label 2 at row 2, column 5; allowed are 0-1, 255")


def test_sixteen_bit_label_out_of_range(folder: Path) -> None:
    Image.fromarray(np.full((6, 8), 1000, np.uint16)).save(folder / "masks" / "0.png")
    expect_bad_sample(folder, "label 1000 at row 0, column 0")


def test_colour_mask(folder: Path) -> None:
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "masks" / "0.png")
    expect_bad_sample(folder, r"masks/0\.png: mask is RGB, expected one channel")


@pytest.mark.parametrize("name", ["images/0.jpg", "masks/0.png"])
def test_unreadable_file(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for content in (b"not an image", whole[: len(whole) // 2], b""):
        (folder / name).write_bytes(content)
        expect_bad_sample(folder, f"{name}: not a readable image")


def test_empty_folder_and_empty_split(folder: Path) -> None:
    with pytest.raises(UserError, match="split 'search' has no images"):
        open_dataset("folder", folder, search_share=0.0).split("search")
    for image in (folder / "images").iterdir():
        image.unlink()
    with pytest.raises(UserError, match="images: holds no images"):
        open_dataset("folder", folder)


def test_no_class_names(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"classes\.txt: no such file"):
        open_dataset("folder", folder)
    assert open_dataset("folder", folder, class_names=["a", "b"]).class_names == ("a", "b")


def test_shipped_lists_are_disjoint_and_complete() -> None:
    for name, half in (("ade20k", 50), ("voc", 27)):
        search, heldout = (shipped_ids(f"{name}_{part}") for part in ("search", "heldout"))
        assert len(set(search)) == len(set(heldout)) == half
        assert set(search).isdisjoint(heldout)


def test_hash_split_ignores_the_order_of_files(folder: Path) -> None:
    images = open_dataset("folder", folder).split("all").pairs
    assert split_by_hash(images, (0.3, 0.7)) == split_by_hash(images[::-1], (0.3, 0.7))


@pytest.mark.parametrize(
    ("name", "path", "options", "counts", "top_label"),
    [
        ("ade20k", "data/ade20k_subset", {"classes": 32}, {"all": 100, "search": 50, "heldout": 50}, 31),
        ("ade20k", "data/ade20k_subset", {}, {"all": 100}, 149),
        ("voc", "data/voc2012_subset", {}, {"train": 46, "val": 54, "search": 27, "heldout": 27, "all": 100}, 20),
        ("camvid", "data/camvid", {}, {"train": 367, "val": 101, "test": 233, "all": 701}, 10),
    ],
)
def test_the_real_sets(shared, name: str, path: str, options: dict, counts: dict[str, int], top_label: int) -> None:
    dataset = open_dataset(name, shared(path), **options)
    assert {split: len(dataset.split(split)) for split in counts} == counts
    labels = set()
    for sample in dataset.split("all").take(100):
        assert sample.image.shape[:2] == sample.label.shape
        labels |= set(np.unique(sample.label).tolist())
    assert max(labels - {VOID}) <= top_label
    assert VOID in labels
    if name == "ade20k":
        assert set(dataset.split("search").image_ids) == set(shipped_ids("ade20k_search"))
        assert (0 in labels) == (not options)


def test_a_data_set_without_fixed_lists_is_halved_by_hash() -> None:
    pairs = [ImagePair(f"image_{number}", Path(f"{number}.jpg"), Path(f"{number}.png")) for number in range(10)]
    search, heldout = search_and_heldout("nothing is shipped for this", pairs)
    assert len(search) == len(heldout) == 5
    assert {*search, *heldout} == set(pairs)
