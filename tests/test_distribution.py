"""What is installed holds every file that the packages read."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
