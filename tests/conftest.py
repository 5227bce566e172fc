"""Where the tests find the real images, networks and planner cases, which are not part of the product."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run, so that a run that passes passes again; `--hypothesis-profile=default` draws new ones.
settings.load_profile("ci")

# Three test processes on two cores: threads of the linear algebra in each would wait for the others'. Read when numpy
# is imported, here and in what tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests start hundreds of Python processes. With this variable, which images of containers set, each compiles our
# modules anew, which takes as long as the rest of its start, and finds out anew which source a cached stage reaches.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Millions of objects are made by imports and by collecting the tests, none of which is garbage: looking for some among
# them takes a fifth of that time.
gc.disable()

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PETITLAB_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A function from a name below the shared folder to its path; skips the test where it is not there.

    The folder is `../shared` next to the checkout, or what PETITLAB_SHARED names.
    """

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs {name} below {SHARED} (set PETITLAB_SHARED to the folder that has it)")
        return path

    return find


@pytest.fixture(scope="session")
def stage_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The override that gives sweeps one stage cache for the whole run: what one test process trained, planned or
    compiled is not done again by the other. Not for a test of what is computed when."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return f"cache.place={shared / 'stage-cache'}"


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
