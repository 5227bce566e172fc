"""The text files of a folder of images: class names and the list of a split, edited together."""

from __future__ import annotations

from pathlib import Path
from unicodedata import category

from hypothesis import strategies as st

from deeplab.datasets import open_dataset
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

IDS = ("0001", "my street 2", "frame.003", "Straße", "a", "A")
BORDER = b"\n=====\n"
"""Between the class names and the list."""


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    texts = [
        "sky\nroad\nFußgänger\n" + BORDER.decode() + "0001\nmy street 2\nframe.003\n",
        "\ufeffsky\r\nroad\r\n\r\n" + BORDER.decode() + "# mine\r\nimages/0001.png masks/0001.png\r\nStraße.PNG\r\n",
        "<b>sky</b>\na/b\na_b\n" + BORDER.decode() + '"my street 2"\nFRAME.003\nA\n',
    ]
    return edited([text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16", "cp1252", "latin-1")
                   if encoding not in ("cp1252", "latin-1") or "\ufeff" not in text])  # fmt: skip


def run(data: bytes, folder: Path) -> None:
    names, _, ids = data.partition(BORDER)
    for below in ("images", "masks"):
        (folder / below).mkdir()
        for image_id in IDS:
            (folder / below / f"{image_id}.png").touch()
    (folder / "classes.txt").write_bytes(names)
    (folder / "search.txt").write_bytes(ids)
    for other in ("train", "heldout"):
        (folder / f"{other}.txt").write_bytes(b"")
    dataset = open_dataset("folder", folder)
    if not all(name.strip() == name and not any(category(c) == "Cc" for c in name) for name in dataset.class_names):
        raise WrongResultError(f"class names {dataset.class_names}")
    if len(set(dataset.class_names)) < len(dataset.class_names):
        raise WrongResultError(f"class names {dataset.class_names}")
    if ids.strip() and not set(dataset.split("search").image_ids) <= set(IDS):
        raise WrongResultError(f"images {dataset.split('search').image_ids}")


TARGET = FuzzTarget("image lists and class names", "text", inputs, run)
