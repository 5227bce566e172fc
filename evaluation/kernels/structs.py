"""Structs of the C program, declared here once: their size by C's rules of layout, and their text for a header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from textwrap import wrap

POINTER_BYTES = 4
"""Of the targets that plans are made for; a 64-bit host's structs are larger."""
_WIDTH = 120
_NOTE_COLUMN = 41


@dataclass(frozen=True)
class CType:
    """A type of a member."""

    name: str
    """As C writes it in front of the member's name, the space or star included."""
    size_bytes: int
    alignment_bytes: int


INT8, UINT8 = CType("int8_t ", 1, 1), CType("uint8_t ", 1, 1)
INT16, UINT16 = CType("int16_t ", 2, 2), CType("uint16_t ", 2, 2)
INT32, UINT32 = CType("int32_t ", 4, 4), CType("uint32_t ", 4, 4)
FLOAT = CType("float ", 4, 4)


def pointer(to: str) -> CType:
    """A pointer to constants of a type of C."""
    return CType(f"const {to} *", POINTER_BYTES, POINTER_BYTES)


@dataclass(frozen=True)
class Members:
    """Members of one type that are declared together."""

    type: CType
    names: tuple[str, ...]
    count: int
    """Elements of each, 1 of a member that is no array."""
    note: str
    """What they mean, where the name does not say it."""

    @property
    def text(self) -> str:
        """The line of a header, without its indent."""
        array = f"[{self.count}]" if self.count > 1 else ""
        joint = ", *" if self.type.name.endswith("*") else ", "
        line = f"{self.type.name}{joint.join(f'{name}{array}' for name in self.names)};"
        return f"{line:<{_NOTE_COLUMN - 4}}/* {self.note} */" if self.note else line


def members(type: CType, *names: str, count: int = 1, note: str = "") -> Members:
    """Members of one type, in order."""
    return Members(type, names, count, note)


@dataclass(frozen=True)
class Struct:
    """The constants that a kernel reads: `struct NAME` in the header of a part of the C program."""

    part: str
    """Path below `deeplab/runtime/c`, without suffix: `.h` has the struct, `.c` the kernels that read it."""
    name: str
    comment: str
    """What the kernels compute, and what the members mean."""
    members: tuple[Members, ...]
    enumerations: tuple[type[IntEnum], ...] = ()
    """Of values that members take; their C names are the members' names."""
    extends: Struct | None = None
    """A struct that this one has as its first member, `plain`."""

    @property
    def fields(self) -> Mapping[str, CType]:
        """Type of each member; those of `plain` as `plain.NAME`."""
        found = {} if self.extends is None else {f"plain.{name}": one for name, one in self.extends.fields.items()}
        return found | {name: line.type for line in self.members for name in line.names}

    @property
    def alignment_bytes(self) -> int:
        return max(alignment for _, alignment in self._sizes())

    @property
    def size_bytes(self) -> int:
        """`sizeof` where a pointer has 4 bytes: each member begins at a multiple of its alignment, the whole is
        rounded up to that of the largest (C99, 6.7.2.1)."""
        end = 0
        for size, alignment in self._sizes():
            end = -(-end // alignment) * alignment + size
        return -(-end // self.alignment_bytes) * self.alignment_bytes

    def _sizes(self) -> Iterator[tuple[int, int]]:
        """(bytes, alignment) of each member."""
        if self.extends is not None:
            yield self.extends.size_bytes, self.extends.alignment_bytes
        for line in self.members:
            for _ in line.names:
                yield line.type.size_bytes * line.count, line.type.alignment_bytes

    @property
    def text(self) -> str:
        """Comment, enumerations and struct, as a header has them."""
        lines = [comment_text(self.comment)] if self.comment else []
        lines += [enumeration_text(enumeration) for enumeration in self.enumerations]
        lines.append(f"struct {self.name} {{")
        if self.extends is not None:
            lines.append(f"    struct {self.extends.name} plain;")
        return "\n".join([*lines, *(f"    {line.text}" for line in self.members), "};"])


def enumeration_text(enumeration: type[IntEnum]) -> str:
    """A C enumeration; its name is the Python class's in snake case."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in enumeration.__name__)
    values = ", ".join(f"{member.name} = {member.value}" for member in enumeration)
    lines = [f"enum {name.lstrip('_')} {{ {values} }};"]
    if len(lines[0]) > _WIDTH:
        lines = [f"enum {name.lstrip('_')} {{", *(f"    {line}" for line in wrap(values, _WIDTH - 4)), "};"]
    return "\n".join(lines)


def comment_text(text: str) -> str:
    """A comment of C, paragraphs apart."""
    paragraphs = text.strip().split("\n\n")
    lines = "\n\n".join("\n".join(wrap(" ".join(one.split()), _WIDTH - 6)) for one in paragraphs).split("\n")
    return "/* " + "\n".join((f" * {line}" if at else line).rstrip() for at, line in enumerate(lines)) + " */"
