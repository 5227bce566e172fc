"""`python -m deeplab.runtime.stack_table`: derives the table of stack bounds with the installed compilers.

Each kernel is compiled alone, with all others, and with those that the embedded network needs at different widths,
because the code of functions that kernels share depends on the other kernels of a source. The largest figure counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, reduce
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from deeplab.checkpoint import load_checkpoint
from deeplab.compression import Compression, compressed_shapes
from deeplab.runtime.sources import PROGRAM, SOURCES, flat_name, kernel_files, kernel_texts, part_of, separate_units
from deeplab.runtime.stack_builds import (
    ANYWHERE,
    FAMILIES,
    INSTRUCTION_SETS,
    PLAIN,
    Compiler,
    InstructionSet,
    compiler_for,
    flag_sets,
)
from deeplab.runtime.stack_libraries import library_stack
from deeplab.runtime.stack_usage import FLAGS, Unit, build_stack, undefined, unit_of
from evaluation.errors import UserError, exits_on_user_error
from evaluation.kernels.contract import kernel_calls
from evaluation.kernels.registry import KERNELS
from evaluation.kernels.stack_bounds import TABLE, BuildStack, StackRow, StackTable, read_table, to_json
from evaluation.kernels.uses import kernel_uses

PRETRAINED = SOURCES.parents[1] / "pretrained"
_RETURN_ADDRESS_BYTES = 8
"""Bytes of a return address on x86-64."""
TOGETHER, NETWORK = "together", "network"
_WIDTHS = (
    Compression(weight_bits=8, activation_bits=8),
    Compression(weight_bits=4, activation_bits=8),
    Compression(weight_bits=4, activation_bits=8, depthwise_weight_bits=8, edge_weight_bits=8),
    Compression(weight_bits=8, activation_bits=6),
    Compression(weight_bits=4, activation_bits=6),
    Compression(weight_bits=8, activation_bits=16),
    Compression(weight_bits=4, activation_bits=6, decoder_activation_bits=8),
)
"""Widths of the embedded network at which its kernels are compiled together."""


def all_parts() -> list[str]:
    """All parts of `c/`."""
    return [part_of(path) for path in kernel_files()]


@cache
def usual_parts() -> list[list[str]]:
    """Sets of parts of `c/` that the embedded network needs at `_WIDTHS`."""
    network = load_checkpoint(PRETRAINED / "streets.npz").network
    parts_of_kernels = {kernel.function: kernel.part for kernel in KERNELS}
    found: dict[tuple[str, ...], None] = {}
    for widths in _WIDTHS:
        graph = compressed_shapes(network, widths)
        found[tuple(sorted({parts_of_kernels[use.kernel] for use in kernel_uses(graph, kernel_calls(graph))}))] = None
    return [list(parts) for parts in found]


def derived_row(
    instruction_set: InstructionSet, compiler: Compiler, parts: Sequence[str] | None = None, *, together: bool = True
) -> StackRow:
    """The stack of each kernel on one instruction set with one compiler, the largest of all builds.

    Args:
        parts: of `c/` to compile; all if None.
        together: whether to compile also several parts in one source, and position-independent code.

    Raises:
        UserError: the compiler rejects a source.
        UnknownStackError: the stack of a function has no bound.
    """
    stacks: list[BuildStack] = []
    library: dict[str, int] = {}
    flags_of_builds = flag_sets(instruction_set)
    for flags in flags_of_builds:
        alone = ANYWHERE not in flags
        if not alone and not together:
            continue
        with tempfile.TemporaryDirectory() as folder:
            sources = _sources(Path(folder), all_parts() if parts is None else parts, together, alone)
            command = [*compiler.command, *PLAIN, *flags]
            units = _units(sources, command, instruction_set, compiler)
        networks = [units.pop(name) for name in sources if name.startswith(NETWORK)]
        used = {name for name in undefined([*networks, *units.values()]) if not name.startswith("run_")}
        linked = [compiler.linker, *(one for one in flags if one.startswith(("-mcpu", "-mfpu", "-mthumb", "-mfloat")))]
        library = {**library, **library_stack(used, linked, instruction_set.architecture)}
        several = [units.pop(name) for name in sources if name.startswith(TOGETHER)]
        for network in networks:
            stacks += [build_stack(network, [unit], library) for unit in several]
            if units:
                stacks.append(build_stack(network, units.values(), library))
    joined = reduce(BuildStack.joined, stacks)
    return StackRow(
        compiler=compiler.name,
        flags=flags_of_builds,
        few_bytes=joined.few_bytes,
        many_bytes=joined.many_bytes,
        kernels=joined.kernels,
        library=dict(sorted(library.items())),
    )


def derived_table(names: Iterable[str]) -> StackTable:
    """The rows of instruction sets, by name, for the installed compilers."""
    rows: dict[str, tuple[StackRow, ...]] = {}
    for name in names:
        one = INSTRUCTION_SETS[name]
        found = [compiler_for(family, one) for family in FAMILIES]
        rows[name] = tuple(derived_row(one, compiler) for compiler in found if compiler is not None)
        for row in rows[name]:
            largest = max(row.kernels, key=lambda kernel: row.kernels[kernel])
            print(
                f"{name}, {row.compiler}: {row.few_bytes} to the kernel, at most {row.kernels[largest]} in {largest}",
                file=sys.stderr,
            )
    return StackTable({name: made for name, made in rows.items() if made})


def _sources(folder: Path, parts: Sequence[str], together: bool, alone: bool) -> dict[str, Path]:
    """Write a source for each part, for several parts together, and for the entry points of networks."""
    texts = separate_units(parts) if alone else {}
    for number, several in enumerate([list(parts), *usual_parts()] if together else []):
        header, whole = kernel_texts(several)
        texts[f"{TOGETHER}_{number}"] = whole.replace('#include "kernels.h"\n', header)
    (folder / "kernels.h").write_text(kernel_texts(parts)[0])
    for outputs in (1, 2):
        texts[f"{NETWORK}_{outputs}"] = _network(outputs)
    paths = {name: folder / f"{flat_name(name)}.c" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name])
    return paths


def _network(outputs: int) -> str:
    """network.c, with network.h inlined, of a program with one call; the entry points are the same for all programs."""
    numbers = dict.fromkeys(
        ("arena_bytes", "rows", "columns", "channels", "input_bytes", "output_bytes", "label_rows", "label_columns"),
        4096,
    )
    values = {**numbers, "title": "", "input_type": "", "output_type": "", "input_offset": 0, "output_count": outputs,
              "has_labels": 1, "label_bytes": 1}  # fmt: skip
    header = Template((PROGRAM / "network.h.in").read_text()).substitute(values)
    tables = (
        "static const struct {int32_t channels;} layer_0 = {1};\n"
        "static void nothing(const void *l, const struct view *i, const struct view *o, const struct region *a, "
        "uint8_t *s) {(void)l; (void)i; (void)o; (void)a; (void)s;}\n"
        "static const uint16_t rows_0[1][2] = {{0, 1}}, columns_0[1][2] = {{0, 1}};\n"
        "static const struct operand operands_0[2] = {{0, 0, 0, 0, 1, 1, 0, 8, RESIDENT}};\n"
        "static const struct call calls_0[] = {{nothing, &layer_0, operands_0, -1, 0, 1, 1}};\n"
    )
    listed = ", ".join(["{0, 2048}"] * outputs)
    source = Template((PROGRAM / "network.c.in").read_text()).substitute(
        title="", constants="", layers="", sections=tables, table="    {calls_0, rows_0, columns_0, 1, 1, 1, 1, 0}",
        frame_memory="#define frame NULL", frame_at="arena", input_bytes=4096, outputs=listed,
    )  # fmt: skip
    return source.replace('#include "network.h"', header)


def _units(
    sources: dict[str, Path], command: Sequence[str], instruction_set: InstructionSet, compiler: Compiler
) -> dict[str, Unit]:
    address = _RETURN_ADDRESS_BYTES if compiler.is_clang and instruction_set.architecture == "x86_64" else 0

    def unit(item: tuple[str, Path]) -> tuple[str, Unit]:
        name, source = item
        made = source.with_suffix(".o")
        done = subprocess.run(
            [*command, *FLAGS, "-c", "-o", str(made), str(source)],
            capture_output=True, text=True, errors="replace", cwd=source.parent,
        )  # fmt: skip
        if done.returncode:
            raise UserError(f"{compiler.name} refuses {name}.c for {instruction_set.name}: {done.stderr.strip()[:200]}")
        return name, unit_of(made, instruction_set.architecture, return_address_bytes=address)

    longest_first = sorted(sources.items(), key=lambda item: -item[1].stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(unit, longest_first))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def derive(
    instruction_sets: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help=f"Some of {', '.join(INSTRUCTION_SETS)} (default: all)."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Default: the table of this package.", show_default=False)
    ] = TABLE,
) -> None:
    """Derive the stack of every kernel, for each instruction set and compiler that is installed, and write it into the
    table that plans are made with. Rows of compilers that are not installed are kept."""
    names = instruction_sets or list(INSTRUCTION_SETS)
    unknown = [name for name in names if name not in INSTRUCTION_SETS]
    if unknown:
        raise UserError(f"instruction set {unknown[0]!r} is unknown; give some of {', '.join(INSTRUCTION_SETS)}")
    made = derived_table(names)
    known = read_table(out).rows if out.exists() else {}
    rows = {}
    for name in INSTRUCTION_SETS:
        new = made.rows.get(name, ())
        kept = [row for row in known.get(name, ()) if row.compiler not in {one.compiler for one in new}]
        rows[name] = tuple(sorted((*new, *kept), key=lambda row: row.compiler))
    out.write_text(to_json(StackTable({name: made for name, made in rows.items() if made})), encoding="utf-8")


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
