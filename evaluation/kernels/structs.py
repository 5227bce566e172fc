"""Declarations of the structs of the C program: sizes by C's layout rules, and text for the generated headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from textwrap import wrap

POINTER_BYTES = 4
"""Size of a pointer on the targets that plans are made for; structs of a 64-bit host are larger."""
_WIDTH = 120
_NOTE_COLUMN = 41


@dataclass(frozen=True)
class CType:
    """The C type of a member."""

    name: str
    """Text before the member's name, including the space or star."""
    size_bytes: int
    alignment_bytes: int


INT8, UINT8 = CType("int8_t ", 1, 1), CType("uint8_t ", 1, 1)
INT16, UINT16 = CType("int16_t ", 2, 2), CType("uint16_t ", 2, 2)
INT32, UINT32 = CType("int32_t ", 4, 4), CType("uint32_t ", 4, 4)
FLOAT = CType("float ", 4, 4)


def pointer(to: str) -> CType:
    """A pointer to constants of a C type."""
    return CType(f"const {to} *", POINTER_BYTES, POINTER_BYTES)


@dataclass(frozen=True)
class Members:
    """Members of one type in one declaration."""

    type: CType
    names: tuple[str, ...]
    count: int
    """Elements of each array; 1 for scalars."""
    note: str
    """Comment in the header."""

    @property
    def text(self) -> str:
        """Line of the header, without indentation."""
        array = f"[{self.count}]" if self.count > 1 else ""
        joint = ", *" if self.type.name.endswith("*") else ", "
        line = f"{self.type.name}{joint.join(f'{name}{array}' for name in self.names)};"
        return f"{line:<{_NOTE_COLUMN - 4}}/* {self.note} */" if self.note else line


def members(type: CType, *names: str, count: int = 1, note: str = "") -> Members:
    """Members of one type in one declaration."""
    return Members(type, names, count, note)


@dataclass(frozen=True)
class Struct:
    """The constants that a kernel reads: `struct NAME` in the header of a part of the C program."""

    part: str
    """Path below `deeplab/runtime/c`, without suffix: `.h` has the struct, `.c` the kernels that read it."""
    name: str
    comment: str
    """Comment in the header: operators of the kernels, and layout of the constants."""
    members: tuple[Members, ...]
    enumerations: tuple[type[IntEnum], ...] = ()
    """Enumerations of values of members; the names of their members are the same in C."""
    extends: Struct | None = None
    """Struct of the first member, `plain`."""

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
        """`sizeof` with 4-byte pointers: each member is at a multiple of its alignment, and the size is rounded up to
        the largest alignment (C99, 6.7.2.1)."""
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
        """Text in the header: comment, enumerations and struct."""
        lines = [comment_text(self.comment)] if self.comment else []
        lines += [enumeration_text(enumeration) for enumeration in self.enumerations]
        lines.append(f"struct {self.name} {{")
        if self.extends is not None:
            lines.append(f"    struct {self.extends.name} plain;")
        return "\n".join([*lines, *(f"    {line.text}" for line in self.members), "};"])


def enumeration_text(enumeration: type[IntEnum]) -> str:
    """Text of a C enumeration, named as the Python class, in snake case."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in enumeration.__name__)
    values = ", ".join(f"{member.name} = {member.value}" for member in enumeration)
    lines = [f"enum {name.lstrip('_')} {{ {values} }};"]
    if len(lines[0]) > _WIDTH:
        lines = [f"enum {name.lstrip('_')} {{", *(f"    {line}" for line in wrap(values, _WIDTH - 4)), "};"]
    return "\n".join(lines)


def comment_text(text: str) -> str:
    """A wrapped C comment; empty lines separate paragraphs."""
    paragraphs = text.strip().split("\n\n")
    lines = "\n\n".join("\n".join(wrap(" ".join(one.split()), _WIDTH - 6)) for one in paragraphs).split("\n")
    return "/* " + "\n".join((f" * {line}" if at else line).rstrip() for at, line in enumerate(lines)) + " */"
