"""What a function reaches, on packages of a few lines: each way in which one module comes to use another."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.accuracy import to_network_size
from evaluation.planner import plan
from sweeps.code.installed import Installed
from sweeps.code.source_tree import SourceTree
from sweeps.code.stage_code import StageCode

ROOT = ("sweeps.stages", "stage")
COMPUTES = "def compute(a, b):\n    return a + b\n"


def digest(root: Path, files: dict[str, str]) -> str:
    """The digest of `stage` in sweeps/stages.py, of packages that consist of these files and empty ones."""
    for package in ("evaluation", "deeplab", "reports", "sweeps"):
        (root / package).mkdir(exist_ok=True)
        (root / package / "__init__.py").touch()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return StageCode(SourceTree(root), Installed([])).digest([ROOT])


USES = {
    "an import": {"sweeps/stages.py": "from deeplab.changed import compute\ndef stage(): return compute(1, 2)"},
    "an import within the function": {"sweeps/stages.py": "def stage():\n    from deeplab import changed\n"},
    "an import within a function of another module": {
        "sweeps/stages.py": "from deeplab.between import step\ndef stage(): return step()",
        "deeplab/between.py": "def step():\n    from deeplab.changed import compute\n    return compute(1, 2)",
    },
    "a module": {"sweeps/stages.py": "import deeplab.changed as other\ndef stage(): return other.compute(1, 2)"},
    "a function in between": {
        "sweeps/stages.py": "from deeplab.changed import compute\ndef stage(): inner()\ndef inner(): compute(1, 2)"
    },
    "a table of functions": {
        "sweeps/stages.py": "from deeplab.changed import compute\nALL = {'s': compute}\ndef stage(): return ALL['s']"
    },
    "a default": {"sweeps/stages.py": "from deeplab.changed import compute\ndef stage(how=compute): return how(1, 2)"},
    "an annotation": {"sweeps/stages.py": "from deeplab.changed import C\ndef stage(one: 'C | None'): return one.go()"},
    "a decorator": {"sweeps/stages.py": "from deeplab.changed import compute\n@compute\ndef stage(): return 1"},
    "an object made by another function": {
        "sweeps/stages.py": "from deeplab.changed import compute\ndef stage(one): return one.go()\n"
        "class One:\n    def go(self): return compute(1, 2)\ndef make(): return stage(One())"
    },
    "a name that is looked up": {
        "sweeps/stages.py": "from deeplab.changed import compute\ndef stage(): return globals()['com' + 'pute'](1, 2)"
    },
    "a statement of the module": {"sweeps/stages.py": "from deeplab.changed import go\ngo()\ndef stage(): return 1"},
    "a relative import": {
        "sweeps/stages.py": "from deeplab.deep.one import two\ndef stage(): return two",
        "deeplab/deep/__init__.py": "",
        "deeplab/deep/one.py": "from ..changed import compute\ntwo = compute(1, 1)",
    },
    "a package that only imports": {
        "sweeps/stages.py": "from deeplab.facade import renamed\ndef stage(): return renamed(1, 2)",
        "deeplab/facade/__init__.py": "from deeplab.changed import compute as renamed\n__all__ = ['renamed']",
    },
    "a package that only imports, as a whole": {
        "sweeps/stages.py": "from deeplab import facade\ndef stage(): return facade.renamed(1, 2)",
        "deeplab/facade/__init__.py": "from deeplab.changed import compute as renamed\n__all__ = ['renamed']",
    },
    "a star": {
        "sweeps/stages.py": "from deeplab.facade import *\ndef stage(): return compute(1, 2)",
        "deeplab/facade/__init__.py": "from deeplab.changed import *",
    },
    "a name of a module": {
        "sweeps/stages.py": "import importlib\ndef stage(): return importlib.import_module('deeplab.changed')"
    },
    "a name that is worked out": {
        "sweeps/stages.py": "from deeplab.names import load\ndef stage(): return load('changed')",
        "deeplab/names.py": "from importlib import import_module\ndef load(name): import_module('deeplab.' + name)",
    },
    "a process": {
        "sweeps/stages.py": "import subprocess\ndef stage(): subprocess.run(['python', '-m', 'deeplab.changed'])"
    },
}


@pytest.mark.parametrize("files", USES.values(), ids=USES)
def test_what_is_used_is_reached(tmp_path: Path, files: dict[str, str]) -> None:
    before = digest(tmp_path, files | {"deeplab/changed.py": COMPUTES})
    assert digest(tmp_path, {"deeplab/changed.py": f"# Sums.\n{COMPUTES}"}) == before
    assert digest(tmp_path, {"deeplab/changed.py": COMPUTES.replace("+", "-")}) != before


REGISTERS = {
    "a decorator": "@register('ADD')\ndef add(a, b): return a + b",
    "a call": "def add(a, b): return a + b\nregister('ADD', add)",
    "what a call returns": "ADD = register('ADD', lambda a, b: a + b)",
    "an item": "KERNELS['ADD'] = lambda a, b: a + b",
    "a loop": "for kind in 'AB':\n    KERNELS[kind] = lambda a, b: a + b",
}


@pytest.mark.parametrize("place", ["evaluation/kernels/registry.py", "evaluation/elsewhere.py"])
@pytest.mark.parametrize("registers", REGISTERS.values(), ids=REGISTERS)
def test_a_module_that_registers_what_it_holds_is_reached_through_its_package(
    tmp_path: Path, registers: str, place: str
) -> None:
    registry = place.removesuffix(".py").replace("/", ".")
    registers = f"from {registry} import KERNELS, register\n{registers}"
    files = {
        "sweeps/stages.py": "from evaluation.kernels import kernel\ndef stage(): return kernel('ADD')(1, 2)",
        "evaluation/kernels/__init__.py": f"from . import add\nfrom {registry} import kernel",
        place: "KERNELS = {}\ndef kernel(kind): return KERNELS[kind]",
        "evaluation/kernels/add.py": registers,
    }
    before = digest(tmp_path, files)
    assert digest(tmp_path, {"evaluation/kernels/add.py": registers.replace("a + b", "a - b")}) != before


def test_a_package_that_gives_a_name_to_another_function_is_another_code(tmp_path: Path) -> None:
    files = {
        "sweeps/stages.py": "from deeplab.facade import compute\ndef stage(): return compute(1, 2)",
        "deeplab/facade/__init__.py": "from deeplab.both import plus as compute",
        "deeplab/both.py": "def plus(a, b): return a + b\ndef minus(a, b): return a - b",
    }
    before = digest(tmp_path, files)
    assert digest(tmp_path, {"deeplab/facade/__init__.py": "from deeplab.both import minus as compute"}) != before


def test_what_the_function_does_not_name_is_not_reached(tmp_path: Path) -> None:
    files = {
        "sweeps/stages.py": "from deeplab.one import a\nfrom deeplab.changed import compute\n"
        "def stage(): return a\ndef other(): return compute(1, 2)",
        "deeplab/one.py": "a = 1",
        "deeplab/changed.py": COMPUTES,
    }
    before = digest(tmp_path, files)
    assert digest(tmp_path, {"deeplab/changed.py": COMPUTES.replace("+", "-")}) == before


DATA = {
    "a path": "from pathlib import Path\nTABLE = Path(__file__).parent / 'tables' / 'one.txt'",
    "a path that depends": "from pathlib import Path\ndef read(n): Path(__file__).parent / 'tables' / f'{n}.txt'",
    "a folder": "from pathlib import Path\nTABLES = Path(__file__).resolve().parents[1] / 'deeplab' / 'tables'",
    "a resource": "from importlib.resources import files as here\nTABLE = here('deeplab') / 'tables' / 'one.txt'",
    "a resource of a package that depends": "from importlib import resources\ndef read(p): resources.files(p) / 'x'",
    "the older way": "import pkgutil\nTABLE = pkgutil.get_data('deeplab', 'tables/one.txt')",
    "a function": "import os\nTABLE = open(os.path.join(os.path.dirname(__file__), 'tables', 'one.txt'))",
}


@pytest.mark.parametrize("text", DATA.values(), ids=DATA)
def test_a_file_that_is_read_is_reached(tmp_path: Path, text: str) -> None:
    files = {"sweeps/stages.py": "import deeplab.data\ndef stage(): deeplab.data", "deeplab/data.py": text}
    before = digest(tmp_path, files | {"deeplab/tables/one.txt": "1", "reports/other.txt": "1"})
    assert digest(tmp_path, {"reports/other.txt": "2"}) == before
    assert digest(tmp_path, {"deeplab/tables/one.txt": "2"}) != before


def test_functions_and_objects_that_are_handed_over_are_reached() -> None:
    code = StageCode(SourceTree(), Installed())

    def calling(function: Callable) -> Callable:
        return lambda: function()

    for made in (calling, lambda function: functools.partial(function, 1), lambda one: calling(functools.partial(one))):
        assert code.of(made(plan)) != code.of(made(to_network_size))
    assert code.of(calling(plan)) != code.of(calling(SourceTree().reach))


def test_a_function_without_source_is_refused() -> None:
    names: dict = {"__name__": "typed"}
    exec("def typed(): return 1", names)
    with pytest.raises(TypeError, match="typed: has no source file"):
        StageCode(SourceTree(), Installed()).of(names["typed"])


def test_facts_are_kept_for_later_processes_and_by_content(tmp_path: Path) -> None:
    files = {"sweeps/stages.py": "from deeplab.changed import compute\ndef stage(): compute(1, 2)"}
    digest(tmp_path, files | {"deeplab/changed.py": COMPUTES})
    memo, digests = tmp_path / "memo.json", []
    for content in (COMPUTES, COMPUTES.replace("+", "-"), COMPUTES):
        (tmp_path / "deeplab/changed.py").write_text(content)
        digests.append(StageCode(SourceTree(tmp_path, memo), Installed([])).digest([ROOT]))
        assert digests[-1] == digest(tmp_path, {})
    assert digests[0] == digests[2] != digests[1]
    for damaged in (b"", b"{}", memo.read_bytes()[:-9], b"[]", b'{"by": 1}'):
        memo.write_bytes(damaged)
        assert StageCode(SourceTree(tmp_path, memo), Installed([])).digest([ROOT]) == digests[0]
