"""Target devices: properties that decide how memory is counted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from evaluation.errors import UserError
from evaluation.kernels.stack_bounds import instruction_sets


@dataclass(frozen=True)
class Target:
    """A device, and the memory that counts on it."""

    name: str
    weights_in_ram: bool = True
    """True: weights and tables are in RAM and count. False: they are in flash and are reported separately."""
    alignment_bytes: int = 16
    """Every buffer begins at a multiple of this."""
    keep_frame: bool = False
    """True: the camera frame must be intact after the run, so its memory is not reused."""
    count_frame: bool = True
    """False: the network's input is outside the arena and is not counted, as papers on microcontrollers do."""
    label_bytes: int = 1
    """Bytes of one pixel of the label map. Ours is uint8; TFLM's and LiteRT's is int32."""
    instruction_set: str = "armv7-neon"
    """Instruction set of the processor, a name in the table of stack bounds (`evaluation.kernels.stack_bounds`), which
    gives the stack of the kernels built for it. Default: an ARM core with NEON, as in cameras."""

    def __post_init__(self) -> None:
        if self.alignment_bytes < 1 or self.alignment_bytes & (self.alignment_bytes - 1):
            raise UserError(f"target {self.name}: alignment_bytes must be a power of two, got {self.alignment_bytes}")
        if self.label_bytes not in (1, 4):
            raise UserError(f"target {self.name}: label_bytes must be 1 or 4, got {self.label_bytes}")
        if self.instruction_set not in instruction_sets():
            raise UserError(
                f"target {self.name}: instruction_set {self.instruction_set!r} is unknown; give one of "
                f"{', '.join(instruction_sets())}"
            )


CAMERA = Target("camera")
MCU = Target("mcu", weights_in_ram=False, instruction_set="cortex-m7")
TFLM = Target("tflm", weights_in_ram=False, label_bytes=4, instruction_set="cortex-m7")
"""TFLM's accounting, for comparison with its figures: weights in flash, labels int32."""

BUILT_IN = {target.name: target for target in (CAMERA, MCU, TFLM)}


def load_target(name: str) -> Target:
    """A built-in target by name, or one read from a YAML file whose keys are the fields of `Target`.

    Raises:
        UserError: there is no such target, or a key or value of the file is invalid.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"target {name!r} is unknown; give one of {', '.join(BUILT_IN)} or a YAML file")
    from evaluation.yaml_file import read_yaml  # only a custom target needs it

    values = read_yaml(path, "a target's YAML file, with lines such as `weights_in_ram: false`").tree
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys such as weights_in_ram and instruction_set")
    kinds = {"name": str} | {field.name: type(field.default) for field in fields(Target) if field.name != "name"}
    for key, value in values.items():
        if key not in kinds:
            raise UserError(f"{path}: unknown key {key!r}; a target has {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise UserError(f"{path}: {key} must be of type {kinds[key].__name__}, got {str(value)[:40]!r}")
    try:
        return Target(**{"name": path.stem, **values})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
