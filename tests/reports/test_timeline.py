"""A plan's JSON as the report reads it."""

import json

from reports.timeline import read_timeline


def buffer(name, role, size_bytes, lower, upper, offset):
    return {
        "name": name, "role": role, "size_bytes": size_bytes, "lower": lower, "upper": upper, "offset": offset,
        "tensors": [0], "region": None,
    }  # fmt: skip


def test_chunks_of_one_tensor_are_one_line_at_the_fullest_step(tmp_path):
    buffers = [
        buffer("frame", "frame", 40, 0, 1, 0),  # the rows consumed first
        buffer("frame", "frame", 60, 0, 3, 40),
        buffer("stem", "tile", 50, 1, 2, 112),
        buffer("frame", "frame", 30, 0, 4, 100),
        buffer("bare", "external_frame", 500, 0, 4, 176),
    ]
    plan = {
        "arena_bytes": 176,
        "lower_bound_bytes": 176,
        "live_bytes": [0] * 4,
        "high_water_step": 1,
        "buffers": buffers,
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    alive = read_timeline(path).at_high_water()
    assert [(block.name, block.size_bytes, block.offset) for block in alive] == [("frame", 90, 40), ("stem", 50, 112)]
