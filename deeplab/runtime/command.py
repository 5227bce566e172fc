"""The text of main.c: a command that reads an image and writes a label map."""

from __future__ import annotations

from string import Template

from deeplab.runtime.emit import Tables, label_map
from deeplab.runtime.ends import described, image_suffix, plain, takes_images, values_of_pixel
from deeplab.runtime.layer import C_TYPES
from deeplab.runtime.sources import inlined
from evaluation.graph.regions import extent


def main_c(made: Tables) -> str:
    """The text of main.c, with its headers inlined."""
    graph, plan = made.graph, made.plan
    source, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    values = values_of_pixel(graph, plan)
    rows, columns, _ = extent(output)
    height, width, _ = extent(source)
    reason = "its output is no label map" if takes_images(graph) else f"its input is {described(source)}"
    return Template(inlined("program/main.c.in", set())).substitute(
        title=f"{plain(plan.graph)}: a network in {plan.arena_bytes} bytes of arena",
        takes_images=int(takes_images(graph)),
        gives_classes=int(values > 0),
        rows=rows,
        columns=columns,
        values=max(values, 1),
        value=C_TYPES.get(output.dtype, "uint8_t"),
        image=image_suffix(graph),
        width=width,
        height=height,
        input=described(source),
        outputs=_outputs(made),
        reason=reason,
    )


def _outputs(made: Tables) -> str:
    """Types and shapes of the outputs of --raw; the type of a label map is the program's, not that of the file."""
    described_outputs = [described(made.graph.tensors[index]) for index in made.graph.outputs]
    labels = label_map(made.graph, made.plan)
    if labels is not None:
        described_outputs[0] = f"uint{8 * labels[2]} (1, {labels[0]}, {labels[1]})"
    return ", ".join(described_outputs)
