"""Fuzzing of the parsers that read what users and other programs write.

A fuzz target is one module `tests/fuzz/target_<parser>.py` with a constant `TARGET`. It edits real inputs (`edited`)
and gives them to one parser in this process. Every input ends in one of five ways, and only the first two are right:

- accepted: the parser returned;
- refused: it raised `UserError` with a message of one line;
- traceback: it raised anything else, or its message is no single readable line;
- hang: it took longer than the target allows;
- wrong: it returned something untrue, which the target itself finds out (`WrongResultError`).

`python -m tests.fuzz --seconds 60` runs all of them and prints the table of docs/reliability.md.
"""

from __future__ import annotations

import importlib
import math
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from evaluation.errors import UserError

EXAMPLES_A_ROUND = 50
"""Inputs between two looks at the clock."""
MEMORY_BYTES = 4 << 30
"""Address space that an input may add to the process: a bomb ends in MemoryError and not in swapping."""
LONGEST_MESSAGE = 1000
"""Characters of a refusal."""
SHOWN_BYTES = 200


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    TRACEBACK = "traceback"
    HANG = "hang"
    WRONG = "wrong"

    @property
    def is_fault(self) -> bool:
        return self not in (Outcome.ACCEPTED, Outcome.REFUSED)


class WrongResultError(Exception):
    """The parser accepted an input and made something untrue of it."""


class HangError(BaseException):
    """The time of an input is over; no `except Exception` of the parser catches it."""


@dataclass(frozen=True)
class FuzzTarget:
    """One parser and the inputs it is tried on."""

    name: str
    """Unique; names the parser, e.g. "sweep configuration"."""
    kind: str
    """What kind of file it reads, a row of the table: e.g. "YAML"."""
    inputs: Callable[[Path | None], st.SearchStrategy[bytes]]
    """From the folder with shared test data (None where it is missing) to a strategy of inputs; see `edited`."""
    run: Callable[[bytes, Path], None]
    """Gives one input to the parser, with an empty folder for files. Returns where the input is accepted."""
    limit_s: float = 5.0
    """Longest time of one input, in seconds."""


@dataclass
class Tally:
    """What happened to the inputs of a target."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    faults: list[tuple[Outcome, bytes, str]] = field(default_factory=list)
    """Outcome, input and explanation of each input that did not end rightly."""

    @property
    def tried(self) -> int:
        return self.counts.total()

    def report(self) -> str:
        """The first faults, for a failing test."""
        lines = [f"{self.tried} inputs: {dict(self.counts)}"]
        for outcome, data, why in self.faults[:3]:
            shown = data[:SHOWN_BYTES]
            lines.append(f"{outcome}: {shown!r}{'...' if len(data) > SHOWN_BYTES else ''}\n{why}")
        return "\n".join(lines)


def load_targets() -> list[FuzzTarget]:
    """Every target of this package, by file name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("target_*.py"))
    return [importlib.import_module(f"tests.fuzz.{name}").TARGET for name in names]


def fuzz(target: FuzzTarget, seconds: float, shared: Path | None, first_seed: int = 0, most: float = math.inf) -> Tally:
    """Try inputs until `seconds` or `most` inputs are over; the same seed gives the same inputs in the same order."""
    tally = Tally()
    strategy = target.inputs(shared)
    end = time.monotonic() + seconds
    round_number = first_seed
    with tempfile.TemporaryDirectory() as folder, _memory_limited():
        scratch = Path(folder)

        @settings(
            max_examples=EXAMPLES_A_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def try_one(data: bytes) -> None:
            if (time.monotonic() > end and tally.tried) or tally.tried >= most:
                return
            outcome, why = outcome_of(target, data, scratch)
            tally.counts[outcome] += 1
            if outcome.is_fault:
                tally.faults.append((outcome, data, why))

        while time.monotonic() < end and tally.tried < most:
            seed(round_number)(try_one)()
            round_number += 1
    return tally


def outcome_of(target: FuzzTarget, data: bytes, scratch: Path) -> tuple[Outcome, str]:
    """What happens to one input, and an explanation where it is a fault."""
    try:
        with _time_limited(target.limit_s), tempfile.TemporaryDirectory(dir=scratch) as folder:
            target.run(data, Path(folder))
    except UserError as error:
        message = str(error)
        if not message.strip() or len(message) > LONGEST_MESSAGE or not message.isprintable():
            return Outcome.TRACEBACK, f"a refusal that is no single readable line: {message!r}"
        return Outcome.REFUSED, ""
    except WrongResultError as error:
        return Outcome.WRONG, str(error)
    except HangError:
        return Outcome.HANG, f"longer than {target.limit_s} s\n{traceback.format_exc(limit=-8)}"
    except Exception:
        return Outcome.TRACEBACK, traceback.format_exc(limit=-8)
    return Outcome.ACCEPTED, ""


@contextmanager
def _time_limited(limit_s: float) -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    handler = signal.signal(signal.SIGALRM, give_up)
    remaining_s, _ = signal.setitimer(signal.ITIMER_REAL, limit_s)  # a test runner's own limit uses the same timer
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, remaining_s)


@contextmanager
def _memory_limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


NUMBERS = [b"0", b"-1", b"1", b"255", b"256", b"2147483648", b"9223372036854775808", b"1e400", b"nan", b"-inf", b"0.5",
           b"9" * 400]  # fmt: skip
TEXTS = [
    *(
        b"\n",
        b"\r\n",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x1b[31m",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"'",
        b'"',
    ),
    *(b":", b",", b"#", b"../", b"/", b"~", b"\\", b"<b>"),
    *("\u202e".encode(), "\u00e9".encode("latin-1"), "\u0661".encode()),
]


@st.composite
def edited(draw: st.DrawFn, inputs: Sequence[bytes], most_edits: int = 6) -> bytes:
    """One of the real inputs after 1 to `most_edits` edits: bytes changed, cut, doubled, moved, or inserted."""
    data = bytearray(draw(st.sampled_from(inputs)))
    for _ in range(draw(st.integers(1, most_edits))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("bit", "byte", "number", "text", "cut", "remove", "double", "move")))
        length = draw(st.integers(1, 40))
        if kind == "bit" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "number":
            start, end = _number_at(data, at)
            data[start:end] = draw(st.sampled_from(NUMBERS))
        elif kind == "text":
            data[at:at] = draw(st.sampled_from(TEXTS))
        elif kind == "cut":
            del data[at:]
        elif kind == "remove":
            del data[at : at + length]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "move":
            to = draw(st.integers(0, max(len(data) - 1, 0)))
            piece = data[at : at + length]
            data[to : to + len(piece)] = piece
    return bytes(data)


def _number_at(data: bytearray, at: int) -> tuple[int, int]:
    """Bounds of the first decimal number at or after a position; an empty range where there is none."""
    start = at
    while start < len(data) and not chr(data[start]).isdigit():
        start += 1
    end = start
    while end < len(data) and chr(data[end]) in "0123456789.eE+-":
        end += 1
    return start, end
