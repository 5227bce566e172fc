"""Buffer lists in and out, and the exit status of `--solve`."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.planner.placement import Block, place, placement_fault
from evaluation.planner.show.buffers_csv import MOST_BUFFERS, ListedBuffer, read_buffers, write_buffers
from evaluation.planner.show.solve import solve_file

# MiniMalloc's example: 12 bytes are enough, and the load.
EXAMPLE = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"


@pytest.fixture
def example(tmp_path):
    path = tmp_path / "buffers.csv"
    path.write_text(EXAMPLE)
    return path


listed = st.lists(
    st.builds(
        lambda name, lower, life, size, offset: ListedBuffer(name, Block(lower, lower + life, size), offset),
        st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=5),
        st.integers(0, 50), st.integers(1, 9), st.integers(0, 10**12), st.integers(0, 10**12),
    ),
    max_size=8, unique_by=lambda buffer: buffer.id,
)  # fmt: skip


@given(listed, st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory, buffers, placed):
    path = tmp_path_factory.mktemp("round") / "list.csv"
    if not placed:
        buffers = [ListedBuffer(buffer.id, buffer.block) for buffer in buffers]
    write_buffers(path, buffers)
    assert read_buffers(path) == buffers


def test_a_list_without_offsets_has_no_such_column(tmp_path):
    write_buffers(tmp_path / "list.csv", [ListedBuffer("a", Block(0, 2, 3))])
    assert (tmp_path / "list.csv").read_text() == "id,lower,upper,size\na,0,2,3\n"


def test_columns_by_minimalloc_s_other_names(tmp_path):
    """`end` is the last step alive, as MiniMalloc reads it."""
    path = tmp_path / "list.csv"
    path.write_text("size,buffer_id,start,end,alignment,gaps\n7,x,1,3,1,\n\nnot,read\n")
    assert read_buffers(path) == [ListedBuffer("x", Block(1, 4, 7))]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "'id' is missing"),
        ("\ufeff", 1, "'id' is missing"),
        ("id;lower;upper;size\na;0;1;4\n", 1, "separated by commas"),
        ("id,lower,upper,size\na,0,1,1e3\n", 2, "'1e3'"),
        ("id,lower,upper,size\na,0,1,inf\n", 2, "'inf'"),
        ("id,lower,upper,size\na,0,1,0x10\n", 2, "'0x10'"),
        ("id,lower,upper,size\na,0,1,1_0\n", 2, "'1_0'"),
        ("id,lower,upper,size\na,0,1,\u0663\n", 2, "size is"),
        ("id,lower,upper,size\na,0,1,\n", 2, "size is ''"),
        (f"id,lower,upper,size\na,0,1,{'9' * 5000}\n", 2, "size is '999"),
        (f"id,lower,upper,size\na,0,1,{1 << 63}\n", 2, "below 2^63"),
        (f"id,lower,upper,size\na,0,1,{1 << 62}\nb,5,6,{1 << 62}\n", 3, "add up to more than 2^63 - 1"),
        (f"id,lower,upper,size\na,{-(1 << 62) - 1},1,4\n", 2, "times are from -2^62"),
        (f"id,lower,upper,size\na,0,{(1 << 62) + 1},4\n", 2, "times are from -2^62"),
        (f"id,lower,upper,size\n{'a' * 200_000},0,1,4\n", 2, "field larger"),
        ('id,lower,upper,size\n"a,0,1,4\n', 2, "is no CSV"),
        ("id,lower,upper,size\na\0b,0,1,4\n", 2, "cannot be printed"),
        ("id,lower,upper,size\na\x1b[2J,0,1,4\n", 2, "cannot be printed"),
        ("id,lower,upper\na,0,1\n", 1, "'size' is missing"),
        ("id,lower,start,upper,size\na,0,0,1,1\n", 1, "'lower'"),
        ("id,lower,upper,size\na,0,1,4\nb,0,1,-4\n", 3, "size is -4"),
        ("id,lower,upper,size\na,2,2,4\n", 2, "upper is 2"),
        ("id,lower,upper,size\na,2,1,4\n", 2, "upper is 1"),
        ("id,lower,upper,size\na,0,1,4.5\n", 2, "'4.5'"),
        ("id,lower,upper,size\na,0,x,4\n", 2, "'x'"),
        ("id,lower,upper,size\na,0,1,4\nb,0,1,4\na,1,2,4\n", 4, "on line 2"),
        ("id,lower,upper,size\na,0,1\n", 2, "3 fields"),
        ("id,lower,upper,size,alignment\na,0,1,4,8\n", 2, "alignment is 8"),
        ("id,lower,upper,size,gaps\na,0,9,4,2-3\n", 2, "gaps"),
        ("id,lower,upper,size,offset\na,0,1,4,-1\n", 2, "offset is -1"),
    ],
)
def test_a_bad_list_is_refused_by_file_and_line(tmp_path, text, line, said):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_buffers(path)
    assert f"bad.csv, line {line}:" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_lines_end_as_on_any_system(tmp_path, end):
    path = tmp_path / "list.csv"
    path.write_bytes("\ufeff".encode() + end.join(["id,lower,upper,size", '"a, b",-5,+3,010', "c,0,1,0"]).encode())
    assert read_buffers(path) == [ListedBuffer("a, b", Block(-5, 3, 10)), ListedBuffer("c", Block(0, 1, 0))]


def test_more_buffers_than_can_be_placed_are_refused(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("id,lower,upper,size\n" + "x,0,1,1\n" * (MOST_BUFFERS + 1))
    with pytest.raises(UserError, match=f"lists {MOST_BUFFERS + 1} buffers; at most {MOST_BUFFERS}"):
        read_buffers(path)
    path.write_bytes(bytes(20_000_000))
    with pytest.raises(UserError, match="is larger than 16 MB"):
        read_buffers(path)


def test_unreadable_files_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv"):
        read_buffers(tmp_path / "gone.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match=r"binary\.csv"):
        read_buffers(tmp_path / "binary.csv")
    with pytest.raises(UserError, match="folder that exists"):
        write_buffers(tmp_path / "no" / "out.csv", [])


def test_solved_within_the_capacity(example, tmp_path, capsys):
    out = tmp_path / "solution.csv"
    assert solve_file(example, 12, 5.0, out) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "solved at capacity 12: height 12, bound 12, gap 0.00%, proven least" in said
    assert out.read_text().splitlines()[0] == "id,lower,upper,size,offset"
    placed = read_buffers(out)
    assert [buffer.id for buffer in placed] == ["b1", "b2", "b3", "b4", "b5"]
    tops = {buffer.id: (buffer.offset, buffer.offset + 4) for buffer in placed}
    assert max(top for _, top in tops.values()) == 12
    for one, other in [("b1", "b3"), ("b1", "b5"), ("b2", "b3"), ("b2", "b5"), ("b3", "b5"), ("b4", "b5")]:
        assert tops[one][1] <= tops[other][0] or tops[other][1] <= tops[one][0]


def test_below_the_load_is_proven_infeasible_and_the_best_is_written(example, tmp_path, capsys):
    out = tmp_path / "solution.csv"
    assert solve_file(example, 11, 5.0, out) == 1
    assert "proven infeasible at capacity 11: height 12" in capsys.readouterr().out
    assert max(buffer.offset + buffer.block.size_bytes for buffer in read_buffers(out)) == 12


@pytest.mark.parametrize(
    ("capacity", "timeout_s"), [(-1, 1.0), (12, -1.0), (12, float("nan")), (1 << 63, 1.0), (10**400, 1.0)]
)
def test_bad_arguments_are_refused(example, capacity, timeout_s):
    with pytest.raises(UserError, match=r"--(capacity|timeout)") as error:
        solve_file(example, capacity, timeout_s)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("timeout_s", [5.0, None])
def test_the_largest_sizes_of_int64_are_placed_right(tmp_path, capsys, timeout_s):
    """Nothing overflows on the way to a sum of 2^63 - 1, and the gap is true."""
    path, out = tmp_path / "large.csv", tmp_path / "out.csv"
    sizes = [1 << 62, (1 << 61) - 1, 1 << 61]
    write_buffers(path, [ListedBuffer(str(i), Block(i, i + 2, size)) for i, size in enumerate(sizes)])
    assert solve_file(path, (1 << 63) - 1, timeout_s, out) == 0
    assert f"height {sizes[0] + sizes[1]}, bound {sizes[0] + sizes[1]}, gap 0.00%" in capsys.readouterr().out
    assert solve_file(path, sizes[0] + sizes[1] - 1, timeout_s, out) == 1
    assert capsys.readouterr().out.startswith("proven infeasible")
    placed = read_buffers(out)
    assert placement_fault([one.block for one in placed], [one.offset for one in placed], (1 << 63) - 1) is None


def test_an_exact_search_over_sizes_near_2_to_the_61_is_right():
    """The sizes of a list that greedy orders do not solve, raised by a factor that has no common divisor with 1."""
    lives = [(3, 5, 2), (2, 5, 2), (5, 9, 3), (4, 7, 3), (1, 3, 3), (2, 4, 2), (5, 6, 1), (1, 2, 3)]
    factor = (1 << 61) // sum(size for *_, size in lives)
    blocks = [Block(lower, upper, size * factor) for lower, upper, size in lives] + [Block(20, 21, 1)]
    placement = place(blocks, node_limit=200_000)
    assert (placement.height_bytes, placement.bound_bytes) == (8 * factor, 8 * factor)


LONG = {
    "all at once": [Block(i, 10**9 + i, 1 + i * 7919 % 9973) for i in range(20_000)],
    "some thousand at once": [
        Block(i * 31 % 5000, i * 31 % 5000 + 1 + i * 17 % 4999, 1 + i % 9973) for i in range(20_000)
    ],
}


@pytest.mark.parametrize("name", LONG)
def test_long_lists_are_placed_in_the_time_given(tmp_path, capsys, name):
    """Each of these took minutes and gigabytes for the lists of who lives at the same time alone."""
    path, out = tmp_path / "long.csv", tmp_path / "out.csv"
    write_buffers(path, [ListedBuffer(str(i), block) for i, block in enumerate(LONG[name])])
    assert solve_file(path, 10**9, 1.0, out) == 0
    assert capsys.readouterr().out.startswith("solved")
    assert placement_fault(LONG[name], [one.offset for one in read_buffers(out)], 10**9) is None


def test_the_time_limit_ends_a_compilation(tmp_path):
    """Compiling the exact search takes several times the limit; the command is done before it is."""
    from benchmarks.planner.rectangles import HEIGHT_BYTES, cut_rectangle

    path, kept = tmp_path / "boxes.csv", tmp_path / "compiled"
    write_buffers(path, [ListedBuffer(str(i), block) for i, block in enumerate(cut_rectangle(60, 1.0, 1))])
    command = [sys.executable, "-m", "evaluation.planner", "--solve", str(path), "--capacity", str(HEIGHT_BYTES)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(kept)}
    done = subprocess.run([*command, "--timeout", "1"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"not solved at capacity {HEIGHT_BYTES}")
    assert not list(kept.rglob("kernel.search*.nbc"))


def test_out_of_time_is_not_solved_and_not_infeasible(tmp_path, capsys):
    """A perfect packing of 300 boxes is out of reach of the greedy orders, which a time limit of 0 leaves alone."""
    from benchmarks.planner.rectangles import HEIGHT_BYTES, cut_rectangle

    path, out = tmp_path / "boxes.csv", tmp_path / "out.csv"
    write_buffers(path, [ListedBuffer(str(i), block) for i, block in enumerate(cut_rectangle(300, 1.0, 1))])
    assert solve_file(path, HEIGHT_BYTES, 0.0, out) == 1
    assert capsys.readouterr().out.startswith("not solved at capacity 1048576")
    assert all(buffer.offset is not None for buffer in read_buffers(out))
