"""LiteRT's tensor arena, read from the addresses of its tensors.

After allocation every tensor that is not a constant has its address in one block; the highest end less the lowest
start is the size of the block, kernels' temporaries such as im2col included. LiteRT keeps the input alive to the end
of the run. With XNNPACK the block holds only the tensors passed between LiteRT and the delegate; the delegate's own
workspace has no address to read, and is part of `resident_growth` alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from evaluation.other_runtimes.subprocess_call import Answer, call_in_fresh_process

_XNNPACK = "xnnpack"


def litert_arena(path: str | Path, *, xnnpack: bool = False) -> int:
    """Bytes of the arena that LiteRT allocates for a `.tflite` file, with its built-in kernels or with XNNPACK.

    Raises:
        UserError: LiteRT is not installed, or cannot load the file.
    """
    arguments = (_XNNPACK,) if xnnpack else ()
    return call_in_fresh_process(__name__, Path(path), "LiteRT", "ai-edge-litert", *arguments)["arena_bytes"]


def _measure(path: str, xnnpack: bool) -> Answer:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        return {"missing": True}
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        return {"refused": " ".join(str(error).split())[:300]}
    constants = _constants(path)
    spans = []
    for detail in interpreter.get_tensor_details():
        # A tensor without elements has no address, and asking for it crashes the interpreter.
        if detail["index"] in constants or 0 in detail["shape"] or detail["dtype"] is bytes:
            continue
        try:
            view = interpreter.tensor(detail["index"])()
        except ValueError:  # never allocated: part of a fused kernel, or inside the delegate
            continue
        start = view.__array_interface__["data"][0]
        if start:
            spans.append((start, start + view.nbytes))
    if not spans:
        return {"refused": "it has no tensors in the arena"}
    return {"arena_bytes": max(end for _, end in spans) - min(start for start, _ in spans)}


def _constants(path: str) -> set[int]:
    """Tensors with values in the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(Path(path).read_bytes(), 0)
    subgraph = model.Subgraphs(0)
    return {
        index
        for index in range(subgraph.TensorsLength())
        if (buffer := model.Buffers(subgraph.Tensors(index).Buffer())).DataLength() or buffer.Offset() > 1
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], _XNNPACK in sys.argv[2:])), flush=True)
