"""The code of each cached stage: an operation that changes is another entry, a comment is not."""

import ast
import functools
import itertools
import json
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab.checkpoint import save_checkpoint
from deeplab.compression import Compression
from evaluation.graph import Graph, Operator, Tensor
from evaluation.planner import CAMERA
from sweeps.code.installed import Installed
from sweeps.code.source_facts import OURS
from sweeps.code.source_tree import Root, SourceTree
from sweeps.code.stage_code import StageCode
from sweeps.config.load import load_config
from sweeps.config.space import Candidate
from sweeps.storage.blob_store import FolderStore
from sweeps.storage.stage_cache import StageCache
from sweeps.trial import plan_cache
from sweeps.trial.context import Context, open_context
from sweeps.trial.network_evaluator import NetworkEvaluator
from sweeps.trial.roundings import roundings
from tests.deeplab.tiny import random_network, tiny_network

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = tuple(f"{REPOSITORY / package}/" for package in (*sorted(OURS), "tests"))
"""Of our own source: a virtual environment in the repository, as README makes one, is not ours."""


def rounding_methods() -> dict[str, Root]:
    """Stage -> (module, class) of every rounding method."""
    asked = ["quantization.rounding=learned", "quantization.aware_steps=1"]
    methods = roundings(load_config(REPOSITORY / "pareto.yaml", asked))
    return {method.name: (type(method).__module__, type(method).__name__) for method in methods}


def stages_in(root: Path) -> dict[str, tuple[Root, ...]]:
    """Stage -> (module, top-level definition) of every call of `cached` in the source; and before that, the class of
    the rounding method that is bound to what the cache computes."""
    found: dict[str, tuple[Root, ...]] = {}
    for path in sorted(file for package in OURS for file in (root / package).rglob("*.py")):
        module, source = ".".join(path.relative_to(root).with_suffix("").parts), path.read_text()
        for definition in ast.parse(source).body if ".cached(" in source else ():
            for node in ast.walk(definition):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cached":
                    assert len(node.args) == 5, f"{module}: stage, parts, compute, encode, decode"
                    own = module, definition.name
                    if ast.unparse(node.args[0]) == "method.name":
                        stages = {stage: (method, own) for stage, method in rounding_methods().items()}
                    else:
                        stages = {ast.literal_eval(node.args[0]): (own,)}
                    assert not stages.keys() & found.keys(), f"two stages are named {stages.keys() & found.keys()}"
                    found |= stages
    return found


STAGES = stages_in(REPOSITORY)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for package in OURS:
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def installed() -> Installed:
    return Installed()


class Code:
    """Digests of the stages of a copy of the packages."""

    def __init__(self, root: Path, installed: Installed) -> None:
        self.root, self.installed = root, installed
        self.before = self.digests()

    def digests(self, *stages: str) -> dict[str, str]:
        """Of all stages, where none is named."""
        code = StageCode(SourceTree(self.root, memo=self.root / "memo.json"), self.installed)
        return {stage: code.digest(STAGES[stage]) for stage in stages or STAGES}

    def after(self, name: str, change: Callable[[bytes], bytes], *stages: str) -> dict[str, str]:
        """The digests while `change` of its content is what a file holds."""
        file = self.root / name
        before = file.read_bytes()
        file.write_bytes(change(before))
        assert file.read_bytes() != before
        try:
            return self.digests(*stages)
        finally:
            file.write_bytes(before)

    def missed(self, after: dict[str, str]) -> set[str]:
        return {stage for stage, digest in after.items() if digest != self.before[stage]}


@pytest.fixture(scope="module")
def code(copied: Path, installed: Installed) -> Code:
    return Code(copied, installed)


def another_operation(source: bytes) -> bytes:
    """Python source with the last of its two-sided operations negated on the left."""
    operations = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.BinOp)]
    for node in sorted(operations, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        lines = source.split(b"\n")
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line[: node.col_offset] + b"-" + line[node.col_offset :]
        changed = b"\n".join(lines)
        try:
            if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)):
                return changed
        except SyntaxError:  # within an f-string, of which Python 3.11 does not know the columns
            continue
    return source + b"\nOPERATIONS = 0\n"


REACHED = [
    ("plan", "evaluation/planner/placement/depth_first.py"),  # compiled by numba
    ("plan", "evaluation/graph/geometry.py"),
    ("plan", "evaluation/planner/validate/memory.py"),
    ("plan", "evaluation/graph/macs.py"),
    ("score", "deeplab/inference.py"),
    ("score", "deeplab/runtime/emit.py"),
    ("score", "deeplab/runtime/loaded_program.py"),
    ("calibrate", "deeplab/runtime/layers/floating.py"),
    ("score", "evaluation/accuracy/confusion.py"),
    ("score", "evaluation/interpreter/requantize.py"),
    ("score", "deeplab/streets/scene.py"),
    ("calibrate", "deeplab/calibration.py"),
    ("prune", "deeplab/finetuning.py"),
    ("prune", "deeplab/optimizer_step.py"),
    ("prune", "deeplab/pruning/optimal_brain_surgeon.py"),
    ("prune", "deeplab/pruning/channel_budget.py"),
    ("prune", "evaluation/planner/tiling/row_tiles.py"),  # plans decide which channels go
    ("clip", "deeplab/quantization/activations.py"),
    ("round", "deeplab/quantization/adaround.py"),
    ("round", "deeplab/quantization/reconstruction.py"),
    ("aware", "deeplab/quantization_aware/training.py"),  # imported within the function
    ("aware", "deeplab/quantization_aware/quantizers.py"),
    ("read", "deeplab/image_windows.py"),
    ("read", "deeplab/datasets/files.py"),
    ("samples", "deeplab/datasets/part.py"),
    ("samples", "deeplab/datasets/voc.py"),
    ("rank", "deeplab/pruning/backward_elimination.py"),
    ("path", "deeplab/pruning/channel_budget.py"),
    ("kernels", "deeplab/runtime/proof_build.py"),
    ("labelled", "deeplab/datasets/files.py"),
]


def test_every_package_and_every_stage_is_here() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert {f"{package}*" for package in OURS} == set(project["tool"]["setuptools"]["packages"]["find"]["include"])
    assert {stage for stage, _ in REACHED} == set(STAGES)


@pytest.mark.parametrize(("stage", "file"), REACHED)
def test_another_operation_is_a_miss(code: Code, stage: str, file: str) -> None:
    assert code.missed(code.after(file, another_operation, stage)) == {stage}


@pytest.mark.parametrize("stage", STAGES)
def test_another_statement_in_the_stages_own_function_is_a_miss(code: Code, stage: str) -> None:
    module, definition = STAGES[stage][0]

    def change(source: bytes) -> bytes:
        (node,) = (node for node in ast.parse(source).body if getattr(node, "name", None) == definition)
        lines = source.split(b"\n")
        lines.insert(node.body[-1].end_lineno, b" " * node.body[-1].col_offset + b"added = 1")
        return b"\n".join(lines)

    assert code.missed(code.after(f"{module.replace('.', '/')}.py", change, stage)) == {stage}


def test_a_shipped_file_that_is_read_is_part_of_the_code(code: Code) -> None:
    computed = {"score", "calibrate", "prune", "round", "rank", "path", "kernels"}
    assert code.missed(code.after("deeplab/runtime/c/int8/convolution.c", lambda content: content + b"\n")) == computed
    assert "score" in code.missed(code.after("deeplab/datasets/splits/voc_search.txt", lambda content: b"one"))


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("reports/figures.py", set(STAGES)),
        ("sweeps/tracking/runs.py", set(STAGES)),
        ("evaluation/planner/tiling/row_tiles.py", {"read", "samples", "labelled", "kernels"}),
        ("deeplab/finetuning.py", {"plan", "score", "calibrate", "rank", "path", "kernels"}),
        ("deeplab/quantization_aware/training.py", set(STAGES) - {"aware"}),
        ("deeplab/quantization/reconstruction.py", set(STAGES) - {"round"}),
    ],
)
def test_what_a_stage_does_not_reach_is_no_miss(code: Code, file: str, kept: set[str]) -> None:
    assert not code.missed(code.after(file, another_operation)) & kept


def reformatted(source: bytes) -> bytes:
    """The same program without comments, in other lines, and with another docstring for everything."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            documented = ast.get_docstring(node) is not None
            node.body[: 1 if documented else 0] = [ast.Expr(ast.Constant("Said in other words."))]
    return b"# Another licence.\n\n\n" + ast.unparse(ast.fix_missing_locations(tree)).encode()


def test_comments_docstrings_and_formatting_are_no_miss(code: Code, tmp_path: Path) -> None:
    """Every reached file at once, in another folder."""
    shutil.copytree(code.root, tmp_path / "copy")
    reached = SourceTree(code.root, memo=code.root / "memo.json").reach(itertools.chain(*STAGES.values()))
    for module in {*reached.modules, *(module for module, _ in reached.parts)}:
        name = module.replace(".", "/")
        file = tmp_path / "copy" / (f"{name}.py" if (code.root / f"{name}.py").exists() else f"{name}/__init__.py")
        file.write_bytes(reformatted(file.read_bytes()))
    assert Code(tmp_path / "copy", code.installed).before == code.before


def distribution(folder: Path, name: str, version: str, *requires: str, top: str | None = None) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires), "", "About it."]
    (info / "METADATA").write_text("\n".join(lines))
    (info / "RECORD").write_text(f"{top or name}/__init__.py,,\n{name}-{version}.dist-info/METADATA,,\n")


@pytest.mark.parametrize(
    ("package", "stages"),
    [
        ("numpy", set(STAGES)),
        ("tensorflow", set(STAGES) - {"plan", "kernels"}),
        ("pillow", set(STAGES) - {"plan", "kernels"}),
        ("llvmlite", set(STAGES) - {"read", "samples", "labelled", "kernels", "aware", "clip"}),  # numba requires it
        ("typst", set()),
    ],
)
def test_another_version_of_a_package_that_computes_is_a_miss(
    code: Code, tmp_path: Path, package: str, stages: set[str]
) -> None:
    digests = []
    for number in ("1.0", "1.1"):
        folder = tmp_path / number
        versions = dict.fromkeys(("numpy", "tensorflow", "numba", "llvmlite", "pillow", "typst"), "1.0")
        versions[package] = number
        for name, version in versions.items():
            needs = ("llvmlite<2,>=1", "cloud; extra == 'cloud'") if name == "numba" else ()
            distribution(folder, name, version, *needs, top={"pillow": "PIL"}.get(name))
        digests.append(Code(code.root, Installed([str(folder)])).before)
    assert {stage for stage in STAGES if digests[0][stage] != digests[1][stage]} == stages


def test_versions_are_those_of_what_is_imported_and_what_it_requires(tmp_path: Path) -> None:
    distribution(tmp_path, "Py_YAML", "6.0", "numpy (>=2)", "lint; extra == 'dev'", top="yaml")
    distribution(tmp_path, "numpy", "2.4")
    distribution(tmp_path, "lint", "1")
    assert Installed([str(tmp_path)]).versions(["yaml", "torch"]) == {
        "numpy": "2.4",
        "py-yaml": "6.0",
        "torch": "absent",
    }


def test_copies_that_a_package_brings_for_itself_are_no_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools puts such a folder on the path of every process that imports it, as tfmot does."""
    before = Installed().versions(["yaml", "numpy"])
    distribution(tmp_path / "_vendor", "copy-of-yaml", "1.0", top="yaml")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "_vendor"), *sys.path])
    assert Installed().versions(["yaml", "numpy"]) == before


def test_every_process_finds_the_same_digests_wherever_the_packages_are(code: Code) -> None:
    program = (
        "import json, sys; from pathlib import Path; from sweeps.code.stage_code import running; "
        "stages = json.loads(sys.argv[1]).items(); "
        "print(json.dumps({stage: running().digest(map(tuple, roots)) for stage, roots in stages}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, json.dumps(STAGES)], cwd=REPOSITORY, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    assert json.loads(said) == code.before


def tiny_graph() -> Graph:
    tensors = tuple(Tensor(f"t{index}", (1, 4, 4, 2), "float32", 32) for index in range(2))
    return Graph("tiny", tensors, (Operator("RELU", "relu", (0,), (1,)),), (0,), (1,))


def test_the_cache_misses_what_other_code_made_and_hits_what_a_comment_did_not_change(
    copied: Path, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[int] = []
    plan = plan_cache.plan
    monkeypatch.setattr(plan_cache, "plan", lambda *args, **more: (planned.append(1), plan(*args, **more))[1])
    file = copied / "evaluation/graph/geometry.py"
    before = file.read_bytes()
    for content, count in ((before, 1), (b"# Said anew.\n" + before, 1), (another_operation(before), 2), (before, 2)):
        file.write_bytes(content)
        cache = StageCache(FolderStore(tmp_path), code=StageCode(SourceTree(copied), installed))
        plan_cache.cached_plan(tiny_graph(), 1, CAMERA, 0.05, cache)
        assert len(planned) == count


def test_a_process_whose_source_was_edited_neither_reads_nor_writes(
    copied: Path, installed: Installed, tmp_path: Path
) -> None:
    """It runs the code of before the edit, or some of both."""
    file = copied / "evaluation/graph/geometry.py"
    before = file.read_bytes()
    store = FolderStore(tmp_path)
    cache = StageCache(store, code=StageCode(SourceTree(copied), installed))
    file.write_bytes(before + b"\nX = 1\n")
    try:
        assert plan_cache.cached_plan(tiny_graph(), 1, CAMERA, 0.05, cache).arena_bytes > 0
        assert store.entries() == []
    finally:
        file.write_bytes(before)


class Watched(StageCache):
    """A cache that notes in which files of our packages is what a stage calls, and which of them it opens."""

    def __init__(self, store: FolderStore) -> None:
        super().__init__(store, code=StageCode(SourceTree(), Installed()))
        self.used: dict[str, set[str]] = {}
        self.reached: dict[str, set[str]] = {}
        self._seen: list[set[str]] = []
        sys.addaudithook(self._opened)

    def cached(self, stage, parts, compute, encode, decode):
        def watched():
            self._seen.append(set())
            before = sys.gettrace()
            for start in (sys.settrace, threading.settrace):
                start(self._called)
            try:
                return compute()
            finally:
                for stop in (sys.settrace, threading.settrace):
                    stop(before)
                seen = self._seen.pop()
                if self._seen:  # computed within another stage, which runs its code
                    self._seen[-1] |= seen
                ours = {file for file in seen if file.startswith(FOLDERS) and "__pycache__" not in file}
                self.used.setdefault(stage, set()).update(ours)

        functools.update_wrapper(watched, compute)  # its code is that of what it wraps
        self.reached[stage] = {str(REPOSITORY / name) for name in self._code.files(compute, encode, decode)}
        return super().cached(stage, parts, watched, encode, decode)

    def _called(self, frame, event, _):
        if self._seen:
            self._seen[-1].add(frame.f_code.co_filename)

    def _opened(self, event, arguments):
        if event == "open" and self._seen:
            self._seen[-1].add(str(arguments[0]))


def watched(tmp_path: Path, *overrides: str) -> Context:
    """The context of a study of a network of five blocks, its cache watched."""
    network = random_network(tiny_network(input_height=48, input_width=64, classes=11))
    save_checkpoint(network, tmp_path / "tiny.npz")
    images = ("data.search=search[:2]", "data.heldout=heldout[:2]", "data.train=train[:4]")
    settings = [f"out={tmp_path}", f"network.source={tmp_path / 'tiny.npz'}", *images, *overrides]
    context = open_context(load_config(REPOSITORY / "pareto.yaml", settings))
    context.cache = Watched(FolderStore(tmp_path / "cache"))
    return context


def assert_what_is_used_was_reached(cache: Watched, stages: set[str]) -> None:
    assert set(cache.used) == stages
    for stage, used in cache.used.items():
        more = used - cache.reached[stage] - {str(Path(__file__))}
        assert used, stage
        assert not more, f"{stage} uses {sorted(more)}"


def test_what_runs_in_a_stage_is_reached_by_it(tmp_path: Path) -> None:
    """Stages that train nothing; the others are a longer proof."""
    context = watched(tmp_path, "channels.allotment=uniform", "channels.criterion=l1")
    NetworkEvaluator(context).prepare()
    NetworkEvaluator(context).plan_candidate(Candidate(Compression("channels", 0.25, 3, 8), 2))
    assert len(context.calibration_frames) == len(context.images.calibration)
    assert len(context.search) == 2
    assert_what_is_used_was_reached(context.cache, {"plan", "rank", "read", "samples"})


@pytest.mark.slow
def test_what_runs_in_any_stage_is_reached_by_it(tmp_path: Path) -> None:
    context = watched(
        tmp_path, "finetune.steps=1", "quantization.equalize=true", "quantization.rounding=learned",
        "quantization.rounding_steps=2", "quantization.edge_weight_bits=8", "quantization.aware_steps=1",
    )  # fmt: skip
    for compression in (Compression("channels", 0.25, 3, 8), Compression("magnitude", 0.5, 3, 8)):
        NetworkEvaluator(context).evaluate(Candidate(compression, 2))
    NetworkEvaluator(context).execution(Candidate(Compression("channels", 0.25, 3, 8), 2))
    assert context.labelled_classes
    assert_what_is_used_was_reached(context.cache, set(STAGES))
