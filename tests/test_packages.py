"""What the packages import of each other and of distributions; `lint-imports` holds which way imports point."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("deeplab", "evaluation", "reports", "sweeps")
OPTIONAL = {"keras", "pgserver", "ray", "tensorflow", "tensorflow_model_optimization", "tf_keras"}
"""Imported where they are used, and asked for in words where they are missing."""


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


@pytest.mark.parametrize("package", PACKAGES)
def test_of_the_public_package_only_the_guard_is_imported(package):
    """`petitlab` is above all others but for `petitlab.namesakes`, which depends on nothing of ours."""
    whole = [one for one in imported(package) if one[1] == "petitlab"]
    assert [place.rpartition(":")[0] for place, _ in whole] == [f"{package}/__init__.py"]
    assert not [one for one in imported("petitlab") if one[0].startswith("petitlab/namesakes") and one[1] in PACKAGES]


@pytest.mark.parametrize("package", [*PACKAGES, "petitlab"])
def test_what_is_imported_is_declared(package):
    """A package that only comes along with another, or with the tests, is missing in an installation some day."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {distribution(line) for line in project["dependencies"]}
    optional = {distribution(line) for lines in project["optional-dependencies"].values() for line in lines}
    provided = packages_distributions()
    own = {*PACKAGES, "petitlab", "__future__"}
    for place, name in imported(package):
        if name not in own and name not in sys.stdlib_module_names:
            declared = required if name not in OPTIONAL else optional
            assert declared & {distribution(one) for one in provided.get(name, [name])}, f"{place}: {name}"


def distribution(requirement: str) -> str:
    """The normalized name of the distribution that a requirement asks for (PyPA, name normalization)."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()
