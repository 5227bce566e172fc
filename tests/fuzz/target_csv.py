"""Buffer lists of `evaluation.planner --solve`: read, placed, written with their offsets and read again."""

from pathlib import Path

from hypothesis import strategies as st

from evaluation.planner.placement import place
from evaluation.planner.show.buffers_csv import read_buffers, write_buffers
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

LISTS = [
    b"id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n",
    b'\xef\xbb\xbfid,lower,upper,size,offset\r\n"a, b",-5,3,10,0\r\n"c ""d""",0,1,9223372036854775797,16\r\n',
    b"size,buffer_id,start,end,alignment,gaps\n7,x,1,3,1,\n4611686018427387904,y,2,9,1,\n\nnot,read\n",
]


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    lists = list(LISTS)
    if shared is not None:
        published = shared / "planner_cases" / "offsets" / "minimalloc_C.csv"
        lists.append(b"\n".join(published.read_bytes().splitlines()[:60]) + b"\n")
    return edited(lists)


def run(data: bytes, folder: Path) -> None:
    path = folder / "buffers.csv"
    path.write_bytes(data)
    listed = read_buffers(path)
    blocks = [one.block for one in listed]
    placement = place(blocks, timeout_s=0.02, capacity_bytes=(1 << 63) - 1)
    write_buffers(path, listed)
    if [(one.id, one.block) for one in read_buffers(path)] != [(one.id, one.block) for one in listed]:
        raise WrongResultError("what is written is not read again")
    placed = list(zip(blocks, placement.offsets, strict=True))
    height = max((offset + block.size_bytes for block, offset in placed), default=0)
    if height != placement.height_bytes or placement.gap < 0 or height > (1 << 63) - 1:
        raise WrongResultError(f"height {height}, said to be {placement.height_bytes}, gap {placement.gap}")
    for number, (one, at) in enumerate(placed):
        for other, offset in placed[:number]:
            shares_time = max(one.lower, other.lower) < min(one.upper, other.upper)
            if shares_time and at < offset + other.size_bytes and offset < at + one.size_bytes:
                raise WrongResultError(f"{one} at {at} and {other} at {offset} overlap")


TARGET = FuzzTarget(name="buffer list", kind="CSV", inputs=inputs, run=run)
