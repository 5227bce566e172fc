"""A study goes on with the inputs that it was measured on, or says which of them have changed."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import standin_trial
from PIL import Image
from standin_sweeps import Config, report_text, sweep

from benchmarks.faults import changed_inputs
from deeplab.checkpoint import load_checkpoint, save_checkpoint
from deeplab.compression import FLOAT_BITS, Compression
from deeplab.datasets import open_dataset
from deeplab.network import weights, with_weights
from evaluation.errors import UserError
from reports.record import State, Trial
from reports.record_file import read_record
from sweeps.config.space import BASELINE, Candidate
from sweeps.finish.final_results import Basis, FinalResults
from sweeps.finish.finalize import collect_final_results
from sweeps.finish.selection import select
from sweeps.inputs.fingerprints import NETWORK, require_same_inputs
from sweeps.inputs.splits import Unchanged
from sweeps.storage.journal import Journal
from sweeps.storage.open_coordinator import open_coordinator
from sweeps.storage.study_folder import StudyFolder, read_folder
from sweeps.trial.network_evaluator import NetworkEvaluator
from sweeps.trial.preflight import check_inputs
from sweeps.workers.worker_pool import Answer, Failure

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = [f"class {index}" for index in range(11)]
FORMER_NETWORK = "network"
"""The input whose digest was one of spec and weights, before networks were graphs."""
IDS = {"train": ("t0", "t1"), "search": ("s0", "s1", "s2"), "heldout": ("h0", "h1")}


def _image(path: Path, value: int, mode: str = "L") -> None:
    shape = (96, 128) if mode == "L" else (96, 128, 3)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path, compress_level=0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder data set of seven images, with a network file and a target file next to it."""
    root = tmp_path / "data"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for use, ids in IDS.items():
        (root / f"{use}.txt").write_text("\n".join(ids) + "\n")
        for number, image_id in enumerate(ids):
            _image(root / "images" / f"{image_id}.png", 40 * number, "RGB")
            _image(root / "masks" / f"{image_id}.png", number)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    shutil.copyfile(REPOSITORY / "deeplab" / "pretrained" / "streets.npz", tmp_path / "network.npz")
    (tmp_path / "target.yaml").write_text("weights_in_ram: true\n")
    return root


@pytest.fixture
def study(config: Config, data: Path, tmp_path: Path) -> Callable:
    """`study("search.trials=4")`: a configuration that reads everything there is from files."""
    files = [f"network.source={tmp_path / 'network.npz'}", f"target={tmp_path / 'target.yaml'}"]
    splits = [f"data.{use}={use}" for use in IDS]
    levels = ["space.sparsity=[0.0]", "space.weight_bits=[8, 32]", "space.activation_bits=[8, 32]"]
    return lambda *overrides: config("data.name=folder", f"data.path={data}", *splits, *files, *levels, *overrides)


def _open(config, resume: bool = False, accept_changes: bool = False) -> StudyFolder:
    coordinator = open_coordinator(config)
    with coordinator.open_folder(config, resume, accept_changes, check_inputs(config)) as folder:
        return folder


def _measure(config, *numbers: int) -> None:
    journal = Journal(config.folder)
    for number in numbers:
        candidate = Candidate(tile_count=number + 1) if number else BASELINE
        journal.append(Trial(number, candidate.as_params(), str(candidate), State.FAILED, False, reason="none"))


def _other_weights(tmp_path: Path) -> None:
    network = load_checkpoint(tmp_path / "network.npz").network
    name, values = next(iter(weights(network).items()))
    save_checkpoint(with_weights(network, {name: values * 2}), tmp_path / "network.npz")


@dataclass(frozen=True)
class Change:
    """How inputs change on disk, and what is said of it."""

    do: Callable[[Path], None]
    said: str


CHANGES = {
    "search mask": Change(lambda root: _image(root / "masks/s1.png", 7), r"search masks \(masks/s1\.png\)"),
    "search image": Change(lambda root: _image(root / "images/s2.png", 9, "RGB"), r"search images \(images/s2\.png\)"),
    "heldout mask": Change(lambda root: _image(root / "masks/h0.png", 3), r"heldout masks \(masks/h0\.png\)"),
    "train mask": Change(lambda root: _image(root / "masks/t0.png", 3), r"train masks \(masks/t0\.png\)"),
    "train image": Change(
        lambda root: _image(root / "images/t1.png", 3, "RGB"), r"calibration images \(images/t1\.png\)"
    ),
    "every search mask": Change(
        lambda root: [_image(root / f"masks/{name}.png", 5) for name in IDS["search"]],
        r"search masks \(masks/s0\.png, masks/s1\.png and 1 more\)",
    ),
    "id list": Change(
        lambda root: (root / "search.txt").write_text("s0\ns2\n"), r"search images removed \(images/s1\.png\)"
    ),
    "class names": Change(
        lambda root: (root / "classes.txt").write_text("\n".join([*CLASSES[:3], "new", *CLASSES[4:]])),
        r"class names \(class 3 was 'class 3', is 'new'\)",
    ),
    "network": Change(lambda root: _other_weights(root.parent), r"network \(.*network\.npz has other weights\)"),
    "target": Change(
        lambda root: (root.parent / "target.yaml").write_text("weights_in_ram: false\n"),
        r"target file \(weights_in_ram\)",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_on_disk_is_refused_by_name_and_taken_where_the_user_says_so(
    study: Callable, data: Path, name: str
) -> None:
    first = _open(study())
    _measure(study(), 0, 1)
    before = (study().folder / "study.json").read_bytes()
    CHANGES[name].do(data)
    with pytest.raises(UserError, match=CHANGES[name].said) as refused:
        _open(study(), resume=True)
    assert "\n" not in str(refused.value)
    assert "--resume --accept-changes" in str(refused.value)
    assert (study().folder / "study.json").read_bytes() == before
    went_on = _open(study(), resume=True, accept_changes=True)
    assert went_on.study_id == first.study_id
    (change,) = went_on.changes
    assert change["trials"] == 2
    assert change["keys"] == {}
    _measure(study(), 2)
    earlier, later = went_on.measured_on([0, 1, 2])
    assert (earlier.trials, later.trials) == ((0, 1), (2,))
    assert earlier.digests == first.inputs[0]["digests"]
    assert earlier.digests != later.digests
    again = _open(study(), resume=True)
    assert (again.changes, again.inputs) == (went_on.changes, went_on.inputs)


def test_what_changes_no_score_is_not_compared(study: Callable, data: Path, tmp_path: Path) -> None:
    _open(study())
    _measure(study(), 0)
    (tmp_path / "target.yaml").write_text("# as before\nweights_in_ram: true\nalignment_bytes: 16\n")
    network = load_checkpoint(tmp_path / "network.npz").network
    save_checkpoint(network, tmp_path / "network.npz", {"note": "written again"})
    _image(data / "images" / "unlisted.png", 5, "RGB")
    _image(data / "masks" / "unlisted.png", 5)
    os.utime(data / "masks" / "s0.png")
    assert _open(study(), resume=True).changes == []


def test_labels_that_nothing_learns_from_are_not_compared(study: Callable, data: Path) -> None:
    distilled = study("finetune.loss=distill")
    _open(distilled)
    _measure(distilled, 0)
    _image(data / "masks" / "t0.png", 9)
    assert _open(distilled, resume=True).changes == []


def test_equal_size_and_time_hide_no_change(study: Callable, data: Path) -> None:
    mask = data / "masks" / "s1.png"
    _open(study())
    _measure(study(), 0)
    before = mask.stat()
    _image(mask, 8)
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (mask.stat().st_size, mask.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(UserError, match=r"search masks \(masks/s1\.png\)"):
        _open(study(), resume=True)


def test_a_changed_key_is_no_changed_file(study: Callable) -> None:
    _open(study())
    _measure(study(), 0)
    folder = _open(study("finetune.loss=distill"), resume=True, accept_changes=True)
    (change,) = folder.changes
    assert (list(change["keys"]), change["inputs"]) == (["finetune.loss"], {})


def test_a_study_of_before_goes_on_with_one_line_said_and_is_compared_from_then_on(study: Callable, data: Path) -> None:
    _open(study())
    _measure(study(), 0)
    file = study().folder / "study.json"
    tree = json.loads(file.read_text())
    del tree["inputs"]
    file.write_text(json.dumps(tree))
    (study().folder / "inputs.json").unlink()
    folder = _open(study(), resume=True)
    (note,) = folder.notes
    assert "from now on they are compared" in note
    unknown, known = folder.measured_on([0, 1])
    assert (unknown.digests, unknown.trials, known.trials) == ({}, (0,), (1,))
    assert folder.stale([NETWORK, "search"]) == set()
    assert _open(study(), resume=True).notes == []
    CHANGES["search mask"].do(data)
    with pytest.raises(UserError, match="search masks"):
        _open(study(), resume=True)


def test_a_study_whose_network_digest_meant_another_thing_goes_on_and_is_compared_from_then_on(
    study: Callable, data: Path
) -> None:
    _open(study())
    _measure(study(), 0)
    file, details = study().folder / "study.json", study().folder / "inputs.json"
    tree, named = json.loads(file.read_text()), json.loads(details.read_text())
    del tree["inputs"][0]["digests"][NETWORK]
    tree["inputs"][0]["digests"][FORMER_NETWORK] = "2" * 64
    named[FORMER_NETWORK] = named.pop(NETWORK)
    file.write_text(json.dumps(tree))
    details.write_text(json.dumps(named))
    folder = _open(study(), resume=True)
    assert (folder.changes, folder.notes) == ([], [])
    earlier, later = folder.measured_on([0, 1])
    assert (earlier.trials, later.trials) == ((0,), (1,))
    assert {use for use in earlier.digests if use not in later.digests} == {FORMER_NETWORK}
    assert folder.stale([NETWORK, "search"]) == set()
    CHANGES["network"].do(data)
    with pytest.raises(UserError, match=CHANGES["network"].said):
        _open(study(), resume=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"search": [["s0"]]}', f'{{"search": 3, "{NETWORK}": null}}'])
def test_lost_details_cost_the_names_of_files_only(study: Callable, data: Path, content: str) -> None:
    _open(study())
    _measure(study(), 0)
    (study().folder / "inputs.json").write_text(content)
    CHANGES["search mask"].do(data)
    with pytest.raises(UserError, match="was measured on other inputs: search "):
        _open(study(), resume=True)


def test_another_program_is_said_and_not_refused(study: Callable) -> None:
    inputs = check_inputs(study())
    _open(study())
    _measure(study(), 0)
    other = replace(inputs, digests=dict(inputs.digests) | {"program": "of a later version"})
    with open_coordinator(study()).open_folder(study(), True, False, other) as folder:
        (note,) = folder.notes
        assert "measured by another version of the program" in note
        (change,) = folder.changes
        assert (change["keys"], list(change["inputs"])) == ({}, ["program"])
        assert [span.trials for span in folder.measured_on([0, 1])] == [(0,), (1,)]
        assert folder.stale([NETWORK, "search"]) == set()


def test_inputs_may_change_before_anything_was_measured(study: Callable, data: Path) -> None:
    _open(study())
    CHANGES["network"].do(data)
    folder = _open(study(), resume=True)
    assert (folder.changes, len(folder.inputs)) == ([], 1)


def test_a_file_that_changes_while_the_study_runs_is_not_scored(data: Path) -> None:
    split = Unchanged(open_dataset("folder", data).split("search"))
    part = split.take(2)
    assert split.sample(1).label[0, 0] == 1
    _image(data / "masks" / "s1.png", 9)
    for reader in (split, part):
        assert reader.image(1).shape == (96, 128, 3)
        with pytest.raises(UserError, match=r"masks/s1\.png: was changed while the study ran"):
            reader.sample(1)
    assert split.sample(0).label[0, 0] == 0


def test_a_sweep_scores_the_held_out_images_again_where_they_changed_and_says_what_changed(
    study: Callable, data: Path
) -> None:
    def sweep_of(trials: int, accept_changes: bool = False):
        return sweep(study(f"search.trials={trials}"), trials > 3, accept_changes=accept_changes)

    def taken() -> list[str]:
        return (study().folder / "heldout.txt").read_text().splitlines()

    first = sweep_of(3)
    assert first.inputs[0].trials == (0, 1, 2)
    assert len(taken()) == len(first.heldout)
    CHANGES["heldout mask"].do(data)
    with pytest.raises(UserError, match="heldout masks"):
        sweep_of(4)
    assert read_record(study().folder) == first
    second = sweep_of(4, accept_changes=True)
    assert len(taken()) == len(first.heldout) + len(second.heldout)
    assert [span.trials for span in second.inputs] == [(0, 1, 2), (3,)]
    said = "Inputs were changed after 3 trials, which are kept as measured; later trials have other inputs"
    assert said in report_text(second)
    assert "heldout masks (masks/h0.png)" in report_text(second)
    assert read_folder(study().folder).stale(["heldout"]) == {0, 1, 2}
    assert read_folder(study().folder).stale([NETWORK, "search"]) == set()


def _measured(number: int, bits: int) -> Trial:
    candidate = Candidate(Compression(weight_bits=bits, activation_bits=bits))
    measurement = standin_trial.StandInEvaluator().outline(candidate)
    return Trial(number, candidate.as_params(), str(candidate), State.COMPLETE, True, measurement)


class _Recording:
    """An executor that answers nothing, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list = []

    def submit(self, key, request) -> None:
        self.asked.append(key)

    def poll(self, timeout_s: float) -> list[Answer]:
        return [Answer(key, Failure("no worker"), 0.0) for key in self.asked]


def test_a_network_that_cannot_be_made_again_is_asked_for_nothing(study: Callable, tmp_path: Path) -> None:
    config = study()
    trials = {number: _measured(number, bits) for number, bits in enumerate((FLOAT_BITS, 8, 4))}
    selection = select(config, trials)
    assert set(selection.on_front) == {0, 1, 2}
    assert selection.choice.number > 0
    known = FinalResults(heldout={0: standin_trial.scores(BASELINE)})
    everything = _Recording()
    collect_final_results(config, trials, everything, tmp_path, (), Basis(known))
    assert {kind for kind, _ in everything.asked} == {"other_runtimes", "execution", "heldout", "network", "image"}
    executor, lost = _Recording(), frozenset(trials) - {selection.choice.number}
    _, found = collect_final_results(config, trials, executor, tmp_path, (), Basis(known, lost, lost))
    assert set(executor.asked) == {
        (kind, selection.choice.number) for kind in ("other_runtimes", "execution", "heldout", "network")
    }
    assert set(found.heldout) == {0}
    assert found.chain == ()
    assert found.not_executed is not None


def test_an_export_makes_no_network_from_other_inputs(study: Callable) -> None:
    record = sweep(study("search.trials=2"))
    then = dict(record.inputs[0].digests)
    require_same_inputs(record, record.trials[1], then)
    require_same_inputs(record, record.trials[1], then | {"search": "other", "heldout": "other"})
    with pytest.raises(
        UserError, match=rf"trial-001 cannot be made again: the study's {NETWORK} and calibration changed"
    ):
        require_same_inputs(record, record.trials[1], then | {NETWORK: "other", "calibration": "other"})
    before = replace(record, inputs=())  # a record of an earlier version; the stand-in's fingerprints
    require_same_inputs(before, record.trials[1], {NETWORK: "1" * 64, "calibration": "other"})
    with pytest.raises(UserError, match=f"the study's {NETWORK} changed"):
        require_same_inputs(before, record.trials[1], {NETWORK: "other"})


def test_an_export_compares_no_digest_of_a_network_that_meant_another_thing(study: Callable) -> None:
    record = sweep(study("search.trials=2"))
    then = dict(record.inputs[0].digests)
    former = {use: digest for use, digest in then.items() if use != NETWORK} | {FORMER_NETWORK: "2" * 64}
    spans = (replace(record.inputs[0], digests=former),)
    assert record.data is not None
    for before in (
        replace(record, inputs=spans),
        replace(record, inputs=(), data=replace(record.data, fingerprints={FORMER_NETWORK: "2" * 64})),
    ):
        require_same_inputs(before, record.trials[1], then)
    with pytest.raises(UserError, match="the study's calibration changed"):
        require_same_inputs(replace(record, inputs=spans), record.trials[1], then | {"calibration": "other"})


def test_a_worker_that_reads_other_inputs_ends_the_sweep() -> None:
    evaluator = NetworkEvaluator(SimpleNamespace(fingerprints={NETWORK: "1", "search": "2", "train": "3"}))
    evaluator.require_inputs({NETWORK: "1", "search": "2", "class names": "9"})
    with pytest.raises(UserError, match=r"reads other inputs than those the study began with \(search\)"):
        evaluator.require_inputs({NETWORK: "1", "search": "other"})


@pytest.mark.parametrize("number", range(len(changed_inputs.CHANGES)))
def test_the_fault_of_changed_inputs_is_refused_each_time(config: Config, tmp_path: Path, number: int) -> None:
    """What `benchmarks.faults` injects, here without processes; and it can tell where nothing is refused."""
    keys = changed_inputs.input_files(tmp_path)
    levels = {"space": {"sparsity": [0.0], "weight_bits": [8], "activation_bits": [8]}}
    (tmp_path / "config.yaml").write_text(json.dumps({"study": "fault", **keys, **levels}))
    _open(config())

    @dataclass
    class Stopped:
        folder: Path = tmp_path
        study: Path = config().folder

    class Chosen(random.Random):
        def choice(self, sequence):
            return sequence[number]

    def resume() -> int:
        try:
            _open(config(), resume=True)
        except UserError:
            return 2
        return 0

    assert changed_inputs.change_inputs(Stopped(), resume, Chosen(number)) is None
    _measure(config(), 0)
    assert changed_inputs.change_inputs(Stopped(), resume, Chosen(number)) is not None
    assert resume() == 0, "the file is back"
    with pytest.raises(changed_inputs.MixedDataError):
        changed_inputs.change_inputs(Stopped(), lambda: 0, Chosen(number))
