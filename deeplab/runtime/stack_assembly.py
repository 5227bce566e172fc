"""Stack frames and calls of each function, parsed from a compiler's assembly output.

`-fstack-usage` alone is no bound on x86-64: gcc and clang count neither the red zone of leaf functions nor all that
aligning the stack for wide vectors may take, and clang omits return addresses and pushed arguments. A frame is
therefore the larger of the compiler's figure and that of the instructions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_REGISTER_RANGE = re.compile(r"([a-z]+)(\d+)-[a-z]+(\d+)")
_NUMBER = r"#?(-?(?:0x[0-9a-f]+|\d+))"
_NAME = r"([A-Za-z_][\w.]*)"
_DATA = tuple(
    f"\t.{kind}" for kind in ("byte", "value", "short", "hword", "long", "word", "quad", "ascii", "string", "zero")
)
"""Data directives, which are skipped: a network has millions."""
_CALL, _JUMP = "*call", "*jump"


class UnknownStackError(Exception):
    """The stack of a function has no known bound; the message names the function and the reason."""


@dataclass(frozen=True)
class Function:
    """One function of an assembly file."""

    name: str
    frame_bytes: int
    """Bytes below the caller's stack pointer at the call, the return address included."""
    callees: frozenset[str]
    """Names of functions that it calls or jumps to."""
    calls_pointer: bool = False
    """Whether it calls through a pointer."""
    jumps_indirectly: bool = False
    """Whether it jumps to a computed address: a switch, or a tail call through a pointer."""


def functions_of(assembly: str, architecture: str) -> list[Function]:
    """The functions of an assembly file of gcc or clang.

    Args:
        architecture: x86_64, arm or aarch64.

    Raises:
        UnknownStackError: a function changes the stack pointer in an unsupported way.
    """
    comment = {"x86_64": "#", "arm": "@", "aarch64": "//"}[architecture]
    found: list[Function] = []
    name: str | None = None
    lines: list[str] = []
    declared = set(re.findall(r"^\s*\.type\s+([\w.$]+),\s*[@%]function", assembly, flags=re.MULTILINE))
    for line in assembly.splitlines():
        if line.startswith(_DATA):
            continue
        text = line.split(comment)[0].strip()
        label = re.match(r"([\w.$]+):", text)
        if label is not None and label[1] in declared:
            name, lines = label[1], []
        elif name is not None and re.match(rf"\.size\s+{re.escape(name)}\b", text):
            found.append(_function(name, lines, architecture))
            name = None
        elif name is not None and text and (not text.startswith(".") or label is not None):
            lines.append(text)
    return found


def library_function(lines: Sequence[str], architecture: str) -> Function:
    """A library function from its disassembly, one instruction a line; its frame is the sum of all instructions that
    take stack."""
    return Function("", _sum_taken(lines, architecture), *_calls(lines, architecture))


def _function(name: str, lines: list[str], architecture: str) -> Function:
    frame = _deepest_x86(name, lines) if architecture == "x86_64" else _sum_taken(lines, architecture)
    return Function(name, frame, *_calls(lines, architecture))


def _calls(lines: Sequence[str], architecture: str) -> tuple[frozenset[str], bool, bool]:
    callee_of = _callee_x86 if architecture == "x86_64" else _callee_arm
    callees = {callee for line in lines if (callee := callee_of(line)) is not None}
    return frozenset(callees - {_CALL, _JUMP}), _CALL in callees, _JUMP in callees


def _callee_x86(line: str) -> str | None:
    jump = re.match(rf"(?:notrack\s+)?(call|j[a-z]+)q?\s+(\*)?(?:[0-9a-f]+ <)?{_NAME}?", line)
    if jump is None:
        return None
    if jump[2]:
        return _CALL if jump[1] == "call" else _JUMP
    return jump[3]


def _callee_arm(line: str) -> str | None:
    """The callee of an instruction of Thumb, ARM or AArch64."""
    words = line.replace(",", " ").split()
    if words[0] == "blr" or (words[0] == "blx" and _is_register(words[1])):
        return _CALL
    if words[0] == "br" or re.fullmatch(r"bx\w*", words[0]):
        return None if words[1] == "lr" else _JUMP
    if not re.fullmatch(r"(bl?|blx)(\.?(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le))?(\.[wn])?", words[0]):
        return None
    target = re.search(r"<([^>+]+)(\+0x[0-9a-f]+)?>", line)
    name = target[1] if target is not None else words[1].split("(")[0]  # gcc may append (PLT)
    return name if re.fullmatch(_NAME, name) else None


def _is_register(word: str) -> bool:
    return re.fullmatch(r"[rx]\d+|ip|fp|lr|sl|sb", word) is not None


def _sum_taken(lines: Sequence[str], architecture: str) -> int:
    if architecture == "x86_64":
        below = max((_below_pointer_x86(line) for line in lines), default=0)
        return 8 + below + sum(8 if re.match(r"push", line) else _subtracted_x86(line) for line in lines)
    return sum(_taken_arm(line) for line in lines)


def _below_pointer_x86(line: str) -> int:
    """Bytes of the red zone below the stack pointer that an instruction accesses."""
    return max((int(offset, 0) for offset in re.findall(r"-(0x[0-9a-f]+|\d+)\(%rsp[,)]", line)), default=0)


def _subtracted_x86(line: str) -> int:
    taken = re.match(r"subq?\s+\$(0x[0-9a-f]+|\d+),\s*%rsp", line)
    return int(taken[1], 0) if taken is not None else 0


def _taken_arm(line: str) -> int:
    """Bytes that an instruction of ARM or AArch64 takes from the stack."""
    pushed = re.match(r"(v?push|v?stm(?:fd|db)\S*\s+sp!,|fstmdb\S*\s+sp!,)(?:\.\w+)?\s*\{(.*)\}", line)
    if pushed is not None:
        return _registers_bytes(pushed[2])
    taken = re.match(rf"sub[sw]?(?:\.w)?\s+sp,(?:\s*sp,)?\s*{_NUMBER}(,\s*lsl #12)?", line)
    if taken is not None:
        return int(taken[1], 0) << (12 if taken[2] else 0)
    stored = re.match(rf"st\w+(?:\.w)?\s.*\[sp,\s*{_NUMBER}\]!", line)
    if stored is not None:
        return -int(stored[1], 0)
    aligned = re.match(rf"(?:bfc\s+sp,\s*#0,\s*#(\d+))|(?:bic\S*\s+sp,\s*\w+,\s*{_NUMBER})", line)
    if aligned is not None:
        return (1 << int(aligned[1])) if aligned[1] else int(aligned[2], 0) + 1
    masked = re.match(rf"and\s+sp,\s*\w+,\s*{_NUMBER}", line)
    return ((-int(masked[1], 0)) & 0xFFFF) if masked is not None else 0


def _registers_bytes(listed: str) -> int:
    total = 0
    for item in (item.strip() for item in listed.split(",")):
        size = {"d": 8, "q": 16}.get(item[0], 4)
        run = _REGISTER_RANGE.fullmatch(item)
        total += size * (int(run[3]) - int(run[2]) + 1 if run is not None else 1)
    return total


def _deepest_x86(name: str, lines: list[str]) -> int:
    """Deepest stack on any path through a function, in bytes below its caller's stack pointer."""
    labels = {line[:-1]: at for at, line in enumerate(lines) if line.endswith(":")}
    depth_at: dict[int, int] = {}
    waiting, deepest = [(0, 8, 0)], 8
    while waiting:
        at, depth, frame = waiting.pop()
        while at < len(lines) and at not in depth_at:
            depth_at[at] = depth
            line = lines[at]
            deepest = max(deepest, depth + _below_pointer_x86(line))
            depth, frame = _after_x86(name, line, depth, frame)
            deepest = max(deepest, depth)
            jump = re.match(r"(?:notrack\s+)?(j[a-z]+)\s+(\S+)", line)
            if jump is not None:
                targets = [jump[2]] if jump[2] in labels else labels if jump[2].startswith("*") else []
                waiting += [(labels[target], depth, frame) for target in targets]
                if jump[1].startswith("jmp"):
                    break
            if re.match(r"(rep\s+)?ret|ud2", line):
                break
            at += 1
    return deepest


def _after_x86(name: str, line: str, depth: int, frame: int) -> tuple[int, int]:
    """Depth of the stack pointer, and of the frame pointer, after an instruction."""
    if "%rsp" not in line and "%rbp" not in line and not re.match(r"push|pop|leave", line):
        return depth, frame
    if re.match(r"push", line):
        return depth + 8, frame
    if re.match(r"pop", line):
        return depth - 8, frame
    if re.match(r"leave", line):
        return frame - 8, frame
    if re.fullmatch(r"movq?\s+%rsp,\s*%rbp", line):
        return depth, depth
    if not re.search(r",\s*%rsp$", line) or re.match(r"(cmp|test)", line):
        return depth, frame
    if moved := re.match(r"(sub|add)q\s+\$(-?\d+),", line):
        return depth + (int(moved[2]) if moved[1] == "sub" else -int(moved[2])), frame
    if aligned := re.match(r"andq\s+\$-(\d+),", line):
        return depth + int(aligned[1]) - 8, frame
    if moved := re.match(r"leaq\s+(-?\d*)\(%r([bs])p\),", line):
        return (frame if moved[2] == "b" else depth) - int(moved[1] or 0), frame
    if re.match(r"movq\s+%rbp,", line):
        return frame, frame
    if re.match(r"leaq\s+-?\d*\(%r1[0-5]\),", line):  # gcc restores an aligned stack before the return
        return 8, frame
    raise UnknownStackError(f"{name}: the stack pointer is changed by `{line}`; only fixed frames can be bounded")
