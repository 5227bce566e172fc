"""Imports never point up: sweeps, reports, deeplab, evaluation, highest first."""

import ast
import functools
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NEVER_IMPORTS = {
    "evaluation": {"deeplab", "reports", "sweeps"},
    "deeplab": {"reports", "sweeps"},
    "reports": {"deeplab", "sweeps"},
    "sweeps": set(),
}


@functools.cache
def imported(package: str) -> list[tuple[str, str]]:
    """(place, package) of every import in a package's files, those within functions too."""
    found = []
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            place = f"{path.relative_to(REPOSITORY)}:{getattr(node, 'lineno', 0)}"
            found += [(place, name.partition(".")[0]) for name in names]
    assert found
    return found


@pytest.mark.parametrize("package", NEVER_IMPORTS)
def test_imports_never_point_up(package):
    assert not [one for one in imported(package) if one[1] in NEVER_IMPORTS[package]]


def test_measuring_needs_no_tensorflow():
    assert not [one for one in imported("evaluation") if one[1] in {"tensorflow", "tf_keras", "keras"}]


@pytest.mark.parametrize("package", NEVER_IMPORTS)
def test_of_the_public_package_only_the_guard_is_imported(package):
    """`petitlab` is above all others but for `petitlab.namesakes`, which depends on nothing of ours."""
    whole = [one for one in imported(package) if one[1] == "petitlab"]
    assert [place.rpartition(":")[0] for place, _ in whole] == [f"{package}/__init__.py"]
    assert not [
        one for one in imported("petitlab") if one[0].startswith("petitlab/namesakes") and one[1] in NEVER_IMPORTS
    ]
