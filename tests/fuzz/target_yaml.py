"""Sweep configurations: the YAML files of the repository and those that once went wrong, edited."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from sweeps.config.load import load_config
from tests.conftest import REPOSITORY
from tests.fuzz.harness import FuzzTarget, edited


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    files = [*REPOSITORY.glob("*.yaml"), REPOSITORY / "docs" / "every-key.yaml"]
    files += [] if shared is None else sorted((shared / "cases" / "yaml").glob("*.yaml"))
    return edited([path.read_bytes() for path in files])


def run(data: bytes, folder: Path) -> None:
    path = folder / "sweep.yaml"
    path.write_bytes(data)
    load_config(path)


TARGET = FuzzTarget("sweep configuration", "YAML", inputs, run, limit_s=10.0)
