"""What is installed: every file that the packages read; and what runs without the extra `train`."""

import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

from deeplab.requirements import TRAINING
from evaluation.graph.tflite_writer import write_tflite
from tests.evaluation.plans_by_hand import Network

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("deeplab", "evaluation", "petitlab", "reports", "sweeps")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files: a build leaves a folder in its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout, to tell the project's files from others")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (
            name.startswith((*(f"{package}/" for package in PACKAGES), "pyproject", "README"))
            and (REPOSITORY / name).exists()
        ):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path):
    source = wheel.parent / "source"
    expected = {
        str(path.relative_to(source))
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert found == {name for name in expected if "__pycache__" not in name}


_WITHOUT_TRAINING = """
import runpy, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {modules} else real(name, package)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def run_without_training(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that has none of the distributions of the extra `train`."""
    script = _WITHOUT_TRAINING.format(modules=sorted(TRAINING.values()))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_planning_and_emitting_c_need_nothing_of_the_extra_train(tmp_path: Path):
    net = Network()
    x = net.activation("x", (1, 16, 16, 4))
    graph = net.graph("small", [x], [net.convolution("y", x, 8)])
    (tmp_path / "network.tflite").write_bytes(write_tflite(graph))
    planned = run_without_training(tmp_path, "evaluation.planner", "network.tflite")
    assert planned.returncode == 0, planned.stderr
    emitted = run_without_training(tmp_path, "deeplab.runtime", "network.tflite", "--out", "program")
    assert emitted.returncode == 0, emitted.stderr
    assert (tmp_path / "program" / "network.c").is_file()


@pytest.mark.parametrize("arguments", [("sweeps.launch", "p.yaml"), ("sweeps.launch", "p.yaml", "--dry-run")])
def test_what_needs_the_extra_train_says_so_in_one_line_before_anything_is_made(tmp_path: Path, arguments):
    (tmp_path / "p.yaml").write_text("study: s\ndata: {name: streets}\n")
    done = run_without_training(tmp_path, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "tensorflow" in done.stderr
    assert "pip install 'petitlab[train]'" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.yaml"]


def test_another_system_is_refused_in_one_line():
    script = "import sys; sys.platform = 'win32'; import evaluation"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "petitlab runs on Linux, not on win32: use a container, a virtual machine or WSL; "
        "PETITLAB_ANY_SYSTEM=1 goes on untested"
    ]


def test_the_default_study_starts_from_an_empty_folder(tmp_path: Path):
    """The file comes with the package, and is the one of the README."""
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=False)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    printed = run([sys.executable, "-m", "petitlab", "example"], env=environment)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == (REPOSITORY / "pareto.yaml").read_text()
