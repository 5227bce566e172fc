"""What an export writes and says: the program of a real small study, other formats, card, rules, and mistakes."""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.types import TensorSpec
from rich.console import Console
from rich.markdown import Markdown
from typer.testing import CliRunner

from benchmarks.c_program import stack_proof
from deeplab.compression import Compression
from deeplab.pyfunc import NETWORK_FILE
from deeplab.runtime.compilers import compiler
from deeplab.runtime.proof import BrokenProgramError
from evaluation.accuracy import Scores, bootstrap_interval, paired_difference_interval, to_network_size
from evaluation.errors import UserError
from evaluation.graph import read_tflite
from evaluation.interpreter import execute
from evaluation.measurement import Execution
from evaluation.planner import Plan
from reports.record import NETWORKS, Environment, State, StudyRecord, Trial
from reports.record_file import read_record, write_record
from sweeps import export
from sweeps.config.load import load_config
from sweeps.config.space import BASELINE, Candidate
from sweeps.finish import export_bundle
from sweeps.finish.model_card import model_card
from sweeps.finish.picked import megabytes_of, picked_trial
from sweeps.inputs.fingerprints import NETWORK
from sweeps.tracking.front import log_model
from sweeps.trial import stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = Candidate(Compression("channels", 0.25, 8, 8), 4)
NARROW = Candidate(Compression("channels", 0.0, 5, 6), 8)
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def context(tmp_path_factory, stage_cache):
    overrides = [
        stage_cache,
        f"out={tmp_path_factory.mktemp('studies')}",
        "data.search=search[:4]",
        "data.heldout=heldout[:4]",
        "data.train=train[:8]",
        "finetune.steps=3",
    ]
    return open_context(load_config(REPOSITORY / "pareto.yaml", overrides))


@pytest.fixture(scope="module")
def record(context) -> StudyRecord:
    """A finished study of three networks and a trial that failed; each on the front, the second chosen."""
    candidates = (BASELINE, SMALL, NARROW)
    trials = tuple(
        Trial(n, c.as_params(), str(c), State.COMPLETE, True, NetworkEvaluator(context).outline(c))
        for n, c in enumerate(candidates)
    )
    failed = Trial(3, BASELINE.as_params(), str(BASELINE), State.FAILED, False, reason="its worker ended")
    executions = {1: NetworkEvaluator(context).execution(SMALL)} if compiler() else {}
    return StudyRecord(
        study=context.config.study,
        config=context.config.model_dump(mode="json"),
        space_size=9,
        trials=(*trials, failed),
        front=((2,), (1,), (0,)),
        chosen=1,
        chosen_reason="because",
        heldout={1: NetworkEvaluator(context).held_out(SMALL)},
        data=NetworkEvaluator(context).describe(),
        import_check=None,
        overlays=(),
        environment=Environment("the command", "0" * 40, False, {}, "", "2026-11-24T00:00:00+00:00", 1.0),
        executions=executions,
    )


@pytest.fixture
def study(context, record) -> Path:
    folder = context.config.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_record(record, folder)
    return folder


def exported(*arguments: object) -> tuple[int, str]:
    """(exit status, output on one line) of the command."""
    result = CliRunner().invoke(export.app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(result.exception, UserError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@needs_compiler
def test_the_program_is_written_run_and_found_as_the_report_says(context, study, record, tmp_path):
    out = tmp_path / "network"
    status, said = exported(study, "--out", out)
    assert status == 0, said
    promised, seen = record.trial(1).measurement.memory, record.executions[1]
    assert f"#define NETWORK_ARENA_BYTES {promised.arena_bytes}" in (out / "network.h").read_text()
    assert f"arena {promised.arena_bytes:,} B, written up to byte {seen.high_water_bytes:,}" in said
    assert f"{100 * seen.label_agreement:.3f} % of the labels are those that were scored" in said
    assert "equal those in the study's report" in said
    assert exported(study, "--out", out, "--no-check")[0] == 0, "its own files may be written again"


@needs_compiler
def test_a_program_that_is_not_as_the_report_says_ends_with_1(study, record, tmp_path):
    other = replace(record.executions[1], label_agreement=0.5)
    write_record(replace(record, executions={1: other}), study)
    status, said = exported(study, "--out", tmp_path / "network")
    assert status == 1
    assert "The study's report differs" in said


@needs_compiler
def test_a_program_that_exceeds_its_plan_is_told_in_one_line_and_ends_with_3(study, tmp_path, monkeypatch):
    """Its files are there all the same, and the card says so."""
    run = export_bundle.execution
    monkeypatch.setattr(export_bundle, "execution", lambda *given: replace(run(*given), stack_bound_bytes=10))
    result = CliRunner().invoke(export.app, [str(study), "--out", str(tmp_path / "network")])
    assert result.exit_code == 3
    (line,) = [line for line in result.output.splitlines() if "exceeds its plan" in line]
    assert re.fullmatch(
        r"Self-check on 4 search images: trial-001 exceeds its plan: the stack took ([\d,]+) bytes, [\d,]+ over its "
        r"bound of 10\. The files are written nevertheless, and MODEL_CARD\.md says so\.",
        line,
    )
    assert "Execution(" not in result.output
    card = (tmp_path / "network" / "MODEL_CARD.md").read_text()
    assert "| C program, run by the exporting machine | exceeds plan; the stack took" in card
    assert (tmp_path / "network" / "network.c").exists()


def test_without_a_check_the_export_says_what_the_study_saw(record, study, tmp_path):
    seen = Execution(4, 1.0, 1000, 990, 990, False, True, 1000, 900, 12.34)
    write_record(replace(record, executions={1: seen}), study)
    status, said = exported(study, "--out", tmp_path / "network", "--no-check")
    assert status == 3
    words = "exceeds plan: the stack took 1,000 bytes, 100 over its bound of 900"
    assert f"In the study trial-001 {words}. The files are written nevertheless" in said
    assert f"| C program, run by the study | {words} |" in (tmp_path / "network" / "MODEL_CARD.md").read_text()


@needs_compiler
def test_a_program_that_crashes_exceeds_its_plan(study, tmp_path, monkeypatch):
    def crash(program, *_, **__):
        raise BrokenProgramError(f"{program}: died of SIGSEGV")

    monkeypatch.setattr("deeplab.runtime.proof.run_program", crash)
    status, said = exported(study, "--out", tmp_path / "network")
    assert status == 3
    assert "trial-001 exceeds its plan: the program did not run to its end (died of SIGSEGV)." in said
    assert str(tempfile.gettempdir()) not in said.split("Self-check")[1].split("The files")[0]


def test_a_rule_passes_over_what_exceeds_its_plan_and_says_so(record, study, tmp_path):
    points = sorted(record.feasible_points(), key=lambda point: point.peak_memory_bytes)
    smallest, best = points[0].number, points[-1].number
    seen = Execution(4, 1.0, 1000, 990, 990, False, True, 1000, 900, 12.34)
    over = replace(record, executions={smallest: seen, best: seen})
    for arguments in ({"pick": "smallest"}, {"pick": "best"}, {"budget": "9999MB"}, {"max_drop": 1.0}):
        found, why = picked_trial(over, study, **arguments)
        assert found.number == points[1].number, arguments
        assert "exceed" in why
        assert picked_trial(record, study, **arguments)[0].number in (smallest, best)
    assert picked_trial(over, study, number=best)[0].number == best
    write_record(over, study)
    status, said = exported(study, "--pick", "best", "--out", tmp_path / "network", "--no-check")
    assert status == 0
    assert f"Left out, because they exceed their plans: trial-{smallest:03d}, trial-{best:03d}." in said


@needs_compiler
def test_the_folder_builds_and_gives_the_labels_of_the_tflite_beside_it(context, study, tmp_path):
    out = tmp_path / "network"
    assert exported(study, "--out", out, "--no-check")[0] == 0
    subprocess.run(["make", "-C", out], check=True, capture_output=True)
    graph, plan = NetworkEvaluator(context).network_of(SMALL)
    frame = to_network_size(context.images.search.image(0), *graph.tensors[graph.inputs[0]].shape[1:3])
    (tmp_path / "frame.ppm").write_bytes(b"P6\n%d %d\n255\n" % frame.shape[1::-1] + frame.tobytes())
    subprocess.run([out / "network", tmp_path / "frame.ppm", tmp_path / "labels.png"], check=True)
    back = read_tflite(out / "network.tflite")
    from tests.deeplab.test_tflite_export import litert_labels

    expected = execute(graph, plan, frame).output[0]
    np.testing.assert_array_equal(litert_labels((out / "network.tflite").read_bytes(), frame), expected)
    assert len(back.operators) == len(graph.operators)
    assert (out / "network-tflm.tflite").stat().st_size > (out / "network.tflite").stat().st_size
    assert (out / "labels.txt").read_text().split("\n")[:2] == list(context.images.dataset.class_names[:2])


def test_the_card_says_what_the_record_says_and_what_is_missing(study, record, tmp_path):
    out = tmp_path / "network"
    status, said = exported(study, "--trial", 2, "--out", out, "--no-check")
    assert status == 0, said
    card = (out / "MODEL_CARD.md").read_text()
    measured = record.trial(2).measurement
    for words in (
        f"{measured.memory.peak_memory_bytes:,} B",
        f"{measured.scores.miou:.4f}",
        record.trial(2).name,
        "`network.tflite` | not written: stem: .tflite has no 6-bit activations",
        record.data.fingerprints[NETWORK],
        "pedestrian",
    ):
        assert words in card, words
    assert "network.tflite: not written" in said
    assert not (out / "network.tflite").exists()
    assert "The program was not run: it was not asked for (--no-check)." in said


def test_the_card_shows_names_as_they_are_and_no_markup(record):
    names = ("<script>alert(1)</script>", "a|b \\", "*x* _y_ `z`", "[a](http://b)", "two\nlines")
    names += record.data.class_names[len(names) :]
    command = "python -m sweeps.launch a|b `c`.yaml"
    record = replace(
        record,
        data=replace(record.data, class_names=names),
        environment=replace(record.environment, command=command),
    )
    card = model_card(record, record.trial(1), [], {"network.tflite": "<b>no</b>"}, None)
    assert "<script" not in card
    assert "<b>" not in card
    page = Markdown(card)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(page)
    shown = console.export_text()
    for name in (*names[:4], "two lines", "not written: <b>no</b>", "python -m sweeps.launch a|b `c`.yaml"):
        assert name in shown, name


def test_every_figure_of_the_card_is_the_records(record):
    """The rows of its tables, one by one; intervals are those of the report."""
    seen = Execution(4, 0.98765, 1000, 990, 990, False, True, 800, 900, 12.34)
    chosen, baseline, held_out = record.trial(1), record.trial(0), record.heldout[1]
    record = replace(record, heldout={0: record.heldout[1], 1: held_out})
    card = model_card(record, chosen, ["network.tflite"], {"network-tflm.tflite": "because"}, seen)
    lines = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    rows = {line[0]: line[1:] for line in lines}
    memory, cost, scores = chosen.measurement.memory, chosen.measurement.cost, chosen.measurement.scores

    def row(scores: Scores, reference: Scores) -> list[str]:
        alone, change = bootstrap_interval(scores, seed=0), paired_difference_interval(scores, reference, seed=0)
        return [
            str(len(scores.image_ids)),
            f"{scores.miou:.4f} ({alone.lower:.4f} to {alone.upper:.4f}\u2020)",
            f"{scores.miou - reference.miou:+.4f} ({change.lower:+.4f} to {change.upper:+.4f}\u2020)",
        ]

    names = record.data.class_names
    assert record.config["seed"] == 0
    assert rows == {
        "quantity": ["value"],
        "item": ["value"],
        "peak memory": [f"{memory.arena_bytes + memory.weights_bytes + memory.runtime_bytes:,} B"],
        "arena": [f"{memory.arena_bytes:,} B"],
        "weights": [f"{memory.weights_bytes:,} B"],
        "tables and stack": [f"{memory.runtime_bytes:,} B"],
        "multiply-accumulates per image": [f"{cost.macs:,}"],
        "parameters": [f"{cost.parameters:,}"],
        "C program, run by the exporting machine": ["within plan"],
        "arena written up to": ["byte 990 (seen on 4 images)"],
        "labels equal to those scored": ["98.765 %"],
        "time per image, one thread of the exporting machine": ["12.3 ms"],
        "images": ["how many", "mIoU (95 % interval)", "against the uncompressed network (paired)"],
        "search": row(scores, baseline.measurement.scores),
        "held out": row(held_out, record.heldout[0]),
        "number": ["class", "IoU on the search images"],
        **{str(c): [names[c], f"{scores.per_class_iou[c]:.3f}"] for c in scores.scored_classes},
        "file": ["content"],
        "network.h, network.c, kernels.h, kernels.c": ["the program: see README.md"],
        "`network.tflite`": ["the same network for LiteRT and tools that read TFLite"],
        "`network-tflm.tflite`": ["not written: because"],
        "made by": ["`the command`"],
        "commit": ["0" * 40],
        "started": ["2026-11-24T00:00:00+00:00"],
        "seed": ["0"],
        **{f"fingerprint of {name}": [f"`{value}`"] for name, value in record.data.fingerprints.items()},
    }


def test_what_an_earlier_export_wrote_and_this_one_does_not_is_gone(study, tmp_path):
    out = tmp_path / "network"
    assert exported(study, "--out", out, "--no-check")[0] == 0
    assert (out / "network.tflite").exists()
    assert exported(study, "--trial", 2, "--out", out, "--no-check")[0] == 0
    assert not (out / "network.tflite").exists()


def test_each_rule_names_its_trial(record, study):
    points = record.feasible_points()
    smallest = min(points, key=lambda p: p.peak_memory_bytes).number
    best = max(points, key=lambda p: (p.miou, -p.peak_memory_bytes)).number
    within = [p for p in points if p.peak_memory_bytes <= 1e6]
    expected = {
        (): 1,
        (("pick", "chosen"),): 1,
        (("pick", "smallest"),): smallest,
        (("pick", "best"),): best,
        (("number", 0),): 0,
        (("budget", "1MB"),): max(within, key=lambda p: p.miou).number,
        (("max_drop", 1.0),): smallest,
    }
    assert len({smallest, best}) == 2
    for arguments, number in expected.items():
        assert picked_trial(record, study, **dict(arguments))[0].number == number, arguments


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4MB", 4.0), ("512kB", 0.512), ("1.5 MiB", 1.572864), ("300000B", 0.3), ("2", 2.0), (".5mb", 0.5)],
)
def test_sizes(size, expected):
    assert megabytes_of(size) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trial", 7], "there is no trial 7; it has 0 to 3"),
        (["--trial", 3], "trial 3 is failed (its worker ended); export one that is complete"),
        (["--budget", "1kB"], "No trial fits the budget of 0.001 MB; the smallest needs"),
        (["--budget", "much"], "--budget much: is no size"),
        (["--budget", "0MB"], "--budget 0MB: is no size"),
        (["--budget", "1MB", "--trial", "1"], "give one of them"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(study, tmp_path, arguments, words):
    status, said = exported(study, *arguments, "--out", tmp_path / "network")
    assert status == 2
    assert words in said
    assert "\n" not in said
    assert not (tmp_path / "network").exists()


def test_a_study_that_chose_nothing_asks_for_a_trial(record, study, tmp_path):
    write_record(replace(record, chosen=None, chosen_reason="No trial fits."), study)
    status, said = exported(study, "--out", tmp_path / "network")
    assert status == 2
    assert "nothing was chosen (No trial fits.) Name a trial with --trial" in said
    assert exported(study, "--pick", "knee", "--out", tmp_path / "network", "--no-check")[0] == 0


def test_another_plan_than_promised_is_refused(context, study, tmp_path, monkeypatch):
    planned: Plan = NetworkEvaluator(context).plan_candidate(replace(SMALL, tile_count=1))
    monkeypatch.setattr(stages, "plan_of", lambda *_: planned)
    status, said = exported(study, "--out", tmp_path / "network")
    assert status == 2
    assert "was promised an arena of" in said


def test_no_study_and_other_peoples_files_are_refused(study, tmp_path):
    status, said = exported(tmp_path / "nothing", "--out", tmp_path / "network")
    assert status == 2
    assert "no study here" in said
    (tmp_path / "mine.txt").write_text("keep me")
    status, said = exported(study, "--out", tmp_path)
    assert status == 2
    assert "mine.txt" in said
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_a_kept_network_is_exported_without_the_stage_cache(context, study, record, tmp_path, monkeypatch):
    place = study / NETWORKS / "trial-001"
    place.mkdir(parents=True)
    for name, content in NetworkEvaluator(context).network_files(SMALL).items():
        (place / name).write_bytes(content)
    monkeypatch.setattr(export_bundle, "compressed", lambda *_: pytest.fail("made again"))
    assert exported(study, "--out", tmp_path / "network", "--no-check")[0] == 0


def test_the_chosen_network_is_an_mlflow_model_that_predicts(context, study, record, tmp_path, monkeypatch):
    """Loaded by its address alone, it gives the labels of the plan that was promised."""
    monkeypatch.chdir(tmp_path)
    place = study / NETWORKS / "trial-001"
    place.mkdir(parents=True)
    (place / NETWORK_FILE).write_bytes(NetworkEvaluator(context).network_files(SMALL)[NETWORK_FILE])
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("streets", artifact_location=str(tmp_path / "artifacts"))
    runs = tuple(client.create_run(experiment).info.run_id for _ in range(2))
    for _ in range(2):  # a second closing logs none anew
        log_model(client, record, experiment, runs, study)
    (logged,) = client.search_logged_models([experiment])
    assert logged.status == "READY"
    assert logged.tags["candidate"] == record.trial(1).name
    assert [model.model_id for model in client.get_run(runs[0]).outputs.model_outputs] == [logged.model_id]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    # Loading puts the code that was saved with the model first; workers that later tests start would take it for ours.
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    graph, plan = NetworkEvaluator(context).network_of(SMALL)
    shape = graph.tensors[graph.inputs[0]].shape
    assert model.metadata.signature.inputs.inputs == [TensorSpec(np.dtype(np.uint8), (-1, *shape[1:]))]
    frames = np.stack([to_network_size(context.images.search.image(i), *shape[1:3]) for i in range(2)])
    expected = np.stack([execute(graph, plan, frame).output[0] for frame in frames])
    np.testing.assert_array_equal(model.predict(frames), expected)
    with pytest.raises(Exception, match="uint8"):
        model.predict(frames.astype(np.float32))


def test_the_record_of_a_study_is_read_back_as_it_was(record, study):
    assert read_record(study) == record


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")
def test_the_stack_of_each_variant_is_within_its_bound(study):
    """One point of the front; all of a study's: `python -m benchmarks.c_program.stack_proof STUDY`."""
    done = CliRunner().invoke(stack_proof.app, [str(study), "--points", "1"])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if " gcc " in line or " clang " in line]
    assert rows
    assert all(row[-5:-3] == ["1", "1"] for row in rows)
