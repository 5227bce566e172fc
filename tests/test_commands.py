"""Commands run wherever they are started, and importing a package never ends the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from petitlab.cli import COMMANDS
from petitlab.namesakes import OURS

REPOSITORY = Path(__file__).resolve().parents[1]
QUICK = ("evaluation.planner", "sweeps.launch")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with this checkout where an installation would be: at the end of the path."""
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder with a package of each of our names, and files of names that other libraries import."""
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a namesake was imported')\n")
    return tmp_path


@pytest.mark.parametrize("module", QUICK)
def test_a_command_runs_where_packages_of_our_names_are(crowded: Path, module: str):
    (crowded / module.split(".")[0] / "__init__.py").unlink()
    (crowded / module.split(".")[0]).rmdir()  # below a folder of the command's own package nothing of ours is reached
    done = run(crowded, "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert "namesake" not in done.stderr


@pytest.mark.parametrize("module", QUICK)
def test_a_command_runs_where_plain_folders_of_our_names_are(tmp_path: Path, module: str):
    for name in OURS:
        (tmp_path / name).mkdir()
    done = run(tmp_path, "-m", module, "--help")
    assert done.returncode == 0, done.stderr


def test_the_console_script_runs_anywhere(crowded: Path):
    script = "import sys; sys.path.pop(0); from petitlab.cli import main; sys.argv[1:] = ['plan', '--help']; main()"
    done = run(crowded, "-c", script)
    assert done.returncode == 0, done.stderr
    assert "NETWORK.tflite" in done.stdout


def test_a_namesake_that_was_imported_before_is_an_import_error(crowded: Path):
    (crowded / "reports" / "__init__.py").write_text("")
    (crowded / "evaluation" / "__init__.py").unlink()
    (crowded / "evaluation").rmdir()
    script = "import reports\ntry:\n import evaluation\nexcept ImportError as error:\n print('refused:', error)"
    done = run(crowded, "-c", script)
    assert done.stdout.startswith(f"refused: a package named 'reports' was imported from {crowded}"), done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one_name(name: str):
    command = COMMANDS[name]
    module = REPOSITORY.joinpath(*command.module.split(".")).with_suffix(".py")
    source = module.read_text()
    assert f"\n{command.entry} = " in source or f"\ndef {command.entry}(" in source
