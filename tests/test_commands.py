"""Commands run wherever they are started, and importing a package never ends the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from petitlab.cli import COMMANDS
from petitlab.namesakes import OURS

REPOSITORY = Path(__file__).resolve().parents[1]
QUICK = ("evaluation.planner", "sweeps.launch")


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with this checkout where an installation would be: at the end of the path."""
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"} | environment,
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


NARROW = (
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
)
MODULES = (
    "sweeps", "sweeps.launch", "sweeps.cli.list_keys", "sweeps.cli.status", "sweeps.export", "reports",
    "reports.compare", "evaluation.planner", "deeplab.train", "deeplab.runtime",
    "evaluation.other_runtimes", "petitlab",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_a_command_prints_to_a_terminal_of_any_encoding(tmp_path: Path, module: str):
    arguments = [] if module == "sweeps.cli.list_keys" else ["--help"]
    for environment in NARROW[:: len(NARROW) - 1]:
        done = run(tmp_path, "-m", module, *arguments, PYTHONPATH=str(REPOSITORY), **environment)
        assert done.returncode == 0, done.stderr
        assert "Error" not in done.stderr


@pytest.mark.parametrize("environment", NARROW)
def test_names_that_the_terminal_cannot_show_are_printed_with_question_marks(tmp_path: Path, environment: dict):
    done = run(
        tmp_path, "-c", "from evaluation.errors import exits_on_user_error as e; e(print)('m\\u2588\\udc80\\u732b')",
        PYTHONPATH=str(REPOSITORY), **environment,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "m???\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ("sweeps.launch", "s.yaml"), ("sweeps.launch", "s.yaml", "--dry-run"), ("reports", "a"),
        ("reports.compare", "a", "b"), ("sweeps.export", "a", "--out", "b"), ("sweeps.cli.status",),
        ("petitlab", "plan"), ("evaluation.planner", "a.tflite"), ("sweeps.cli.list_keys",),
    ],
)  # fmt: skip
def test_a_current_folder_that_was_removed_is_one_line(tmp_path: Path, command: tuple[str, ...]):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f'rmdir "{gone}" && exec "$@"'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, "-m", *command], cwd=gone, capture_output=True, text=True,
        timeout=120, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: the current folder was removed; change to one that exists\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sweeps.launch", "--workers", "x"), "invalid value for '--workers': "),
        (("sweeps.launch", "a.yaml", "b.yaml"), "(b.yaml)"),
        (("sweeps.launch", "--nothing"), "no such option: --nothing"),
        (("sweeps.cli.status", "a", "b"), "got unexpected extra argument"),
        (("sweeps.export",), "missing "),
        (("sweeps", "cache", "x"), "no such command 'x'"),
        (("reports", "a", "--paper"), "option '--paper' requires an argument"),
        (("reports.compare", "a"), "missing argument 'B'"),
        (("deeplab.train", "--nothing"), "no such option: --nothing"),
        (("evaluation.planner", "a.tflite", "--tiles", "1", "x"), "invalid value for '--tiles': expected a tile count"),
        (("deeplab.runtime", "a.tflite"), "missing option '--out'"),
        (("evaluation.other_runtimes",), "missing argument"),
        (("petitlab", "nothing"), "no such command 'nothing'"),
        (("petitlab", "launch", "--workers", "x"), "see: python -m petitlab launch --help"),
        (("petitlab", "plan", "--nothing"), "see: python -m petitlab plan --help"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(tmp_path: Path, command: tuple[str, ...], said: str):
    done = run(tmp_path, "-m", *command, PYTHONPATH=str(REPOSITORY))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_help_names_commands_as_they_are_typed(tmp_path: Path):
    for command in (("petitlab", "launch"), ("sweeps.launch",)):
        done = run(tmp_path, "-m", *command, "--help", PYTHONPATH=str(REPOSITORY), COLUMNS="120")
        assert f"Usage: python -m {' '.join(command)} " in done.stdout
        examples = [line.strip(" \u2502") for line in done.stdout.splitlines() if "pareto.yaml" in line]
        assert len(examples) >= 4
        assert all(line.startswith("python -m sweeps.launch ") for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one_name(name: str):
    command = COMMANDS[name]
    module = REPOSITORY.joinpath(*command.module.split(".")).with_suffix(".py")
    source = module.read_text()
    assert f"\n{command.entry} = " in source or f"\ndef {command.entry}(" in source
