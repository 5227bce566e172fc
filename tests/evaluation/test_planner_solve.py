"""Buffer lists in and out, and the exit status of `--solve`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.planner.buffers_csv import ListedBuffer, read_buffers, write_buffers
from evaluation.planner.offsets import Block
from evaluation.planner.solve import solve_file

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


@pytest.mark.parametrize(("capacity", "timeout_s"), [(-1, 1.0), (12, -1.0), (12, float("nan"))])
def test_bad_arguments_are_refused(example, capacity, timeout_s):
    with pytest.raises(UserError, match=r"--(capacity|timeout)"):
        solve_file(example, capacity, timeout_s)


def test_out_of_time_is_not_solved_and_not_infeasible(tmp_path, capsys):
    """A perfect packing of 300 boxes is out of reach of the greedy orders, which a time limit of 0 leaves alone."""
    from evaluation.benchmarks.rectangles import HEIGHT_BYTES, cut_rectangle

    path, out = tmp_path / "boxes.csv", tmp_path / "out.csv"
    write_buffers(path, [ListedBuffer(str(i), block) for i, block in enumerate(cut_rectangle(300, 1.0, 1))])
    assert solve_file(path, HEIGHT_BYTES, 0.0, out) == 1
    assert capsys.readouterr().out.startswith("not solved at capacity 1048576")
    assert all(buffer.offset is not None for buffer in read_buffers(out))
