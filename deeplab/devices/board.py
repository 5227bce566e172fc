"""Runs a network on a Cortex-M7 without an operating system, linked into exactly the RAM of its plan.

QEMU emulates the board (ARM MPS2, image AN500) deterministically. The linked RAM holds the arena and the stack only,
the end of the stack at the end of the memory; the code that provides frames and measures has memory of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from deeplab.devices.device_run import DeviceRun
from deeplab.runtime.emit import outside_bytes
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import BrokenProgramError
from deeplab.runtime.proof_build import Toolchain, compiled
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.interpreter.whole import as_input
from evaluation.planner.ir.plan_types import Plan

_SOURCES = Path(__file__).parent / "c"
_BENCH_STACK_BYTES = 4096
_TIME_LIMIT_S = 600
_FAULT, _NO_FILES, _NO_FRAMES = 4, 2, 3
_GUARD_BYTES = 4096
_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True)
class Board:
    """An emulated board and its processor."""

    name: str
    machine: str
    """Name of the board in QEMU."""
    instruction_set: str
    """Name of the instruction set in the table of stack bounds and in targets."""
    processor: tuple[str, ...]
    """Compiler flags that select the processor."""
    flash: tuple[int, int]
    """Address and bytes of the memory of code and constants."""
    memories: tuple[tuple[int, int], ...]
    """Address and bytes of each writable memory; nothing is mapped directly below them."""


CORTEX_M7 = Board(
    "Cortex-M7 (QEMU, MPS2 AN500)",
    "mps2-an500",
    "cortex-m7",
    ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    (0x0, 4 << 20),
    ((0x20000000, 4 << 20), (0x60000000, 16 << 20)),
)


def missing_tools() -> str:
    """A message with the missing tools and the packages to install; "" if none is missing."""
    tools = {"arm-none-eabi-gcc": "gcc-arm-none-eabi", "qemu-system-arm": "qemu-system-arm"}
    missing = {package: tool for tool, package in tools.items() if shutil.which(tool) is None}
    if not missing:
        return ""
    return f"{', '.join(missing.values())} not found; install {' '.join(missing)} to run on an emulated board"


def run(
    graph: Graph,
    plan: Plan,
    frames: Sequence[np.ndarray],
    folder: Path,
    *,
    board: Board = CORTEX_M7,
    compiler: Sequence[str] = ("arm-none-eabi-gcc",),
    flags: Sequence[str] = (),
) -> DeviceRun:
    """Build a planned network for a board, start it there, and run frames.

    Args:
        plan: for a target whose weights are in flash, and of this board's instruction set.
        frames: each as `as_input` takes it; at least one.
        folder: for sources, program and results.
        compiler: command that compiles network and kernels; the flags of the processor are added. The linker is gcc.
        flags: further flags of the compiler.

    Raises:
        UserError: a tool is missing, or the plan is for another kind of memory.
        BrokenProgramError: the program does not fit the planned memory, faulted, or exceeded its time limit.
    """
    missing = missing_tools()
    if missing:
        raise UserError(missing)
    if not frames:
        raise UserError("no frame was given; a board runs at least one")
    if not plan.flash_bytes or outside_bytes(plan):
        raise UserError(
            f"target {plan.target}: a board without an operating system keeps weights in flash and the frame in the "
            "arena; plan for target mcu"
        )
    folder.mkdir(parents=True, exist_ok=True)
    program = _linked(graph, plan, len(frames), folder, board, compiler, flags)
    with (folder / "frames").open("wb") as file:
        for frame in frames:
            file.write(np.ascontiguousarray(as_input(graph, frame)).tobytes())
    _start(program, folder, board)
    count, high_water, stack, guards, equal = (int(one) for one in np.fromfile(folder / "findings", "<u4"))
    return DeviceRun(
        board.name,
        np.fromfile(folder / "outputs", np.uint8).reshape(count, -1),
        bool(equal),
        plan.peak_memory_bytes,
        plan.runtime_bytes,
        stack,
        high_water,
        bool(guards),
    )


def _linked(
    graph: Graph, plan: Plan, frames: int, folder: Path, board: Board, compiler: Sequence[str], flags: Sequence[str]
) -> Path:
    write_sources(graph, plan, folder)
    shutil.copyfile(_SOURCES / "bench.c", folder / "bench.c")
    ram, bench = _memories(plan, board)
    script = Template((_SOURCES / "mps2.ld.in").read_text()).substitute(
        flash_origin=board.flash[0], flash_bytes=board.flash[1],
        ram_origin=ram[0], ram_bytes=plan.peak_memory_bytes, stack_bytes=plan.runtime_bytes,
        bench_origin=bench[0], bench_bytes=bench[1], bench_stack_bytes=_BENCH_STACK_BYTES,
    )  # fmt: skip
    (folder / "board.ld").write_text(script)
    own = Toolchain(compiler[0], (*compiler[1:], *_FLAGS, *board.processor, *flags, "-DNETWORK_PROOF"))
    gnu = Toolchain("arm-none-eabi-gcc", (*_FLAGS, *board.processor, "-DNETWORK_PROOF", f"-DFRAME_COUNT={frames}"))
    objects = [
        compiled(folder / "network.c", own),
        compiled(folder / "kernels.c", own),
        compiled(folder / "bench.c", gnu, "-O1"),
    ]
    program = folder / "board.elf"
    linking = ("-nostartfiles", "-T", "board.ld", "-Wl,--gc-sections", "-Wl,-z,max-page-size=4")
    command = [gnu.cc, *board.processor, *linking, *(one.name for one in objects), "-o", program.name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "overflowed" in line), "")
        raise BrokenProgramError(
            f"{plan.graph}: does not link into the {plan.peak_memory_bytes} bytes of its plan: "
            f"{(said or done.stderr).strip().split(': ', 1)[-1][:200]}"
        )
    return program


def _memories(plan: Plan, board: Board) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first memory that is large enough for the network, and another one for the measuring code."""
    needed = plan.peak_memory_bytes + _GUARD_BYTES
    for at, memory in enumerate(board.memories):
        if needed <= memory[1]:
            return memory, board.memories[at - 1]
    largest = max(size for _, size in board.memories)
    raise UserError(f"{plan.graph}: needs {plan.peak_memory_bytes} bytes of RAM, {board.name} has at most {largest}")


def _start(program: Path, folder: Path, board: Board) -> None:
    command = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
               "-semihosting-config", "enable=on,target=native", "-kernel", program.name]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=_TIME_LIMIT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise BrokenProgramError(f"{program}: no end within {_TIME_LIMIT_S} s on {board.name}") from None
    if done.returncode:
        reason = {
            _FAULT: "faulted: it left the memory of its plan",
            _NO_FILES: "cannot open its files",
            _NO_FRAMES: "got a frame of another size",
        }.get(done.returncode, f"ended with {done.returncode}: {' '.join(done.stderr.split())[:200]}")
        raise BrokenProgramError(f"{program}: on {board.name} it {reason}")
