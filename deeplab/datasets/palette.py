"""One colour a class, for images of label maps."""

from __future__ import annotations

# The street classes of CamVid, by name: colours a person expects (sky blue, road purple-grey, trees green).
_STREET = {
    "sky": "#8ecae6",
    "building": "#8c6d5a",
    "pole": "#f2c14e",
    "road": "#6b5b7b",
    "pavement": "#c9a7c7",
    "tree": "#4f8a4b",
    "sign": "#e76f51",
    "fence": "#b08968",
    "car": "#2a5fb0",
    "pedestrian": "#d62246",
    "bicyclist": "#00a6a6",
}

# The official colours of Cityscapes (cityscapesScripts, helpers/labels.py).
_CITYSCAPES = {
    "road": "#804080",
    "sidewalk": "#f423e8",
    "building": "#464646",
    "wall": "#66669c",
    "fence": "#be9999",
    "pole": "#999999",
    "traffic light": "#faaa1e",
    "traffic sign": "#dcdc00",
    "vegetation": "#6b8e23",
    "terrain": "#98fb98",
    "sky": "#4682b4",
    "person": "#dc143c",
    "rider": "#ff0000",
    "car": "#00008e",
    "truck": "#000046",
    "bus": "#003c64",
    "train": "#005064",
    "motorcycle": "#0000e6",
    "bicycle": "#770b20",
}


def palette(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """ "#rrggbb" by class: street colours where the names are CamVid's or Cityscapes', PASCAL VOC's bit-interleaved map
    elsewhere."""
    for colours in (_STREET, _CITYSCAPES):
        if set(class_names) <= set(colours):
            return tuple(colours[name] for name in class_names)
    return tuple(_voc_colour(index) for index in range(len(class_names)))


def _voc_colour(index: int) -> str:
    """VOC devkit colour map: bit 3k + c of the index becomes bit 7 - k of channel c."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return "#{:02x}{:02x}{:02x}".format(*channels)
