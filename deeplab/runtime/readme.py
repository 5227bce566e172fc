"""The text of README.md in an exported folder."""

from __future__ import annotations

from string import Template

from deeplab.runtime.emit import label_map
from deeplab.runtime.ends import described, image_suffix, is_segmentation, plain
from deeplab.runtime.sources import PROGRAM
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role


def readme(graph: Graph, plan: Plan) -> str:
    """The README of a program: files, memory, and how to build, call and check it."""
    source = graph.tensors[graph.inputs[0]]
    image = f"image.{image_suffix(graph)}"
    if is_segmentation(graph, plan):
        example, command = (
            image,
            f"./network {image} labels.png            # grey PNG, or PGM: the class of each pixel",
        )
    else:
        example, command = "--raw input.bin", "./network --raw input.bin output.bin        # the bytes of the tensors"
    in_flash = plan.flash_bytes > 0
    return Template((PROGRAM / "README.md.in").read_text(encoding="utf-8")).substitute(
        name=plain(plan.graph),
        arena=f"{plan.arena_bytes:,}",
        constants=f"{plan.flash_bytes if in_flash else plan.weights_bytes:,}",
        what_constants="weights and tables, in flash: not RAM" if in_flash else "weights, in RAM",
        runtime=f"{plan.runtime_bytes:,}",
        what_runtime="stack" if in_flash else "tables and stack",
        peak=f"{plan.peak_memory_bytes:,}",
        tiles=_tiles(plan),
        command=command,
        example=example,
        input=described(source),
        frame=_frame(graph),
        frame_life=_frame_life(plan),
        result=_result(graph, plan),
    )


def _tiles(plan: Plan) -> str:
    most = max(section.tiles for section in plan.sections)
    sections = f"{len(plan.sections)} section" + "s" * (len(plan.sections) > 1)
    return f"{sections}, at most {most} tiles" if most > 1 else f"{sections}, untiled"


def _frame(graph: Graph) -> str:
    source = graph.tensors[graph.inputs[0]]
    rows, columns, channels = extent(source)
    if len(source.shape) != 4 or source.bits != 8:
        return f"{described(source)}, in the machine's own byte order, nothing between the elements."
    colours = " (red, green, blue)" if channels == 3 else ""
    shape = f"{rows} rows of {columns} pixels of {channels} channel{'s' * (channels > 1)}{colours}, one byte each"
    if source.dtype == "uint8":
        return f"{shape}, as a camera gives them; nothing between the rows."
    return f"{shape}; nothing between the rows. They are int8: take `NETWORK_INPUT_OFFSET` (128) off a camera's bytes."


def _frame_life(plan: Plan) -> str:
    if any(buffer.role is Role.EXTERNAL_FRAME for buffer in plan.buffers):
        return "The frame is outside the arena, in memory of its own that the figures above do not count."
    if plan.frame_kept:
        return "The frame is in the arena, and the run leaves it as it is."
    return "The frame is in the arena, and the run computes over it: write it anew before each run."


def _result(graph: Graph, plan: Plan) -> str:
    labels = label_map(graph, plan)
    if labels is None:
        output = described(graph.tensors[graph.outputs[0]])
        return f"const uint8_t *output = network_output(0);   /* {output} */"
    rows, columns, size = labels
    what = f"{rows} rows of {columns} classes" + (f" of {size} bytes" if size > 1 else "")
    return f"const uint8_t *labels = network_labels();   /* {what} */"
