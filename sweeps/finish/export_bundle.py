"""The files of an export: C program, the network for other runtimes, labels and model card; and a run of the
program."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from rich.console import Console

from deeplab.network import input_size, real_pixels
from deeplab.pyfunc import NETWORK_FILE, load_network
from deeplab.runtime.bundle import check_folder, write_bundle
from deeplab.tflite_export import TFLITE_FILE, to_tflite
from evaluation.accuracy import to_network_size
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.measurement import Execution
from evaluation.planner.show.tflm_offsets import write_offline_plan
from reports.files import existing_file
from reports.promises import EXCEEDS_PLAN_STATUS, PlanStatus, plan_status, told_status
from reports.record import NETWORKS, StudyRecord, Trial
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.finish.model_card import model_card
from sweeps.finish.study_settings import settings_of
from sweeps.inputs.fingerprints import require_same_inputs
from sweeps.trial.c_program import PROOF_IMAGES, execution
from sweeps.trial.context import Context, open_context
from sweeps.trial.stages import Shipped, compressed, shipped_as

TFLM_FILE = "network-tflm.tflite"
LABELS_FILE = "labels.txt"
CARD_FILE = "MODEL_CARD.md"
KEPT = f"The files are written nevertheless, and {CARD_FILE} says so."
DIFFERENT_STATUS = 1
"""Exit status if the program is within plan, but differs from the study's report."""


def export_trial(
    record: StudyRecord,
    study: Path,
    trial: Trial,
    out: Path,
    check: bool,
    settings: tuple[SweepConfig, Candidate] | None = None,
) -> int:
    """Write a trial's network to the folder `out`, and run its program. The files are kept whatever the result, which
    the model card states too.

    Returns:
        The exit status of the export: 0, `EXCEEDS_PLAN_STATUS`, or `DIFFERENT_STATUS`.

    Networks of the front are in the study's folder; others are made again, from the stage cache if present.

    Args:
        settings: the study's configuration and the trial's candidate; None: read by `settings_of`.

    Raises:
        UserError: the folder has other files, the stored network is damaged or a link out of the study's folder, or
            this version plans other memory for the trial.
    """
    check_folder(out)
    console = Console(highlight=False, soft_wrap=True)
    config, candidate = settings or settings_of(record, study, trial)
    context = open_context(config)
    kept = existing_file(study, f"{NETWORKS}/{trial.label}/{NETWORK_FILE}")
    if kept is None:
        require_same_inputs(record, trial, context.fingerprints)
    network = compressed(candidate.compression, context) if kept is None else _loaded(kept)
    made = shipped_as(network, candidate.tile_count, context)
    graph, plan = made.graph, made.plan
    promised = trial.measured.memory
    if (plan.arena_bytes, plan.weights_bytes) != (promised.arena_bytes, promised.weights_bytes):
        raise UserError(
            f"{trial.label} was promised an arena of {promised.arena_bytes} bytes and {promised.weights_bytes} of "
            f"weights, but this version needs {plan.arena_bytes} and {plan.weights_bytes}; run the study again: "
            "python -m sweeps.launch CONFIG"
        )
    files, refusals = _other_formats(graph)
    names = record.data.class_names if record.data else ()
    files[LABELS_FILE] = "".join(f"{' '.join(name.split())}\n" for name in names).encode()  # one line per name
    seen = execution(made, context) if check else "it was not asked for (--no-check)"
    card = model_card(record, trial, sorted(files), refusals, seen if isinstance(seen, Execution) else None)
    write_bundle(graph, plan, out, files | {CARD_FILE: card.encode()})
    console.print(f"{trial.label} ({trial.name}), written to {out}:")
    console.print(
        f"  C sources, Makefile, plan.json: arena {plan.arena_bytes:,} B, weights {plan.weights_bytes:,} B, "
        f"tables and stack {plan.runtime_bytes:,} B; build it with: make -C {out}"
    )
    for name in (TFLITE_FILE, TFLM_FILE):
        console.print(
            f"  {name}: " + (f"{len(files[name]):,} B" if name in files else f"not written: {refusals[name]}")
        )
    console.print(f"  {LABELS_FILE}, {CARD_FILE}")
    if not isinstance(seen, Execution):
        return _report_unchecked(console, record, trial, str(seen))
    same = _report(console, record, trial, seen)
    if TFLITE_FILE in files:
        _report_tflite(console, made, context, files[TFLITE_FILE])
    return (0 if same else DIFFERENT_STATUS) if seen.holds else EXCEEDS_PLAN_STATUS


def _loaded(file: Path) -> Graph:
    try:
        return load_network(file.parent)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        said = " ".join(str(error).split())[:100]
        raise UserError(
            f"{file}: damaged ({said}); remove its folder, and write it again: python -m sweeps.launch CONFIG --resume"
        ) from None


def _other_formats(graph: Graph) -> tuple[dict[str, bytes], dict[str, str]]:
    """(files, refusals): the network as .tflite, plain and with our offsets for TFLM; or the reason by file name."""
    try:
        content = to_tflite(graph)
    except UserError as error:
        return {}, dict.fromkeys((TFLITE_FILE, TFLM_FILE), str(error))
    files, refusals = {TFLITE_FILE: content}, {}
    with tempfile.TemporaryDirectory() as scratch:
        plain, placed = Path(scratch) / TFLITE_FILE, Path(scratch) / TFLM_FILE
        plain.write_bytes(content)
        try:
            write_offline_plan(plain, placed)
            files[TFLM_FILE] = placed.read_bytes()
        except UserError as error:
            refusals[TFLM_FILE] = str(error).removeprefix(f"{plain}: ")
    return files, refusals


def _report_unchecked(console: Console, record: StudyRecord, trial: Trial, why: str) -> int:
    """Print why the program was not run, and its status in the study; returns the exit status."""
    status = plan_status(record.executions.get(trial.number))
    if status is PlanStatus.EXCEEDED:
        console.print(
            f"The program was not run: {why}. In the study {trial.label} {told_status(record, trial.number)}. {KEPT}",
            style="red",
            markup=False,
        )
        return EXCEEDS_PLAN_STATUS
    in_study = (
        "In the study it was within plan." if status is PlanStatus.WITHIN else "Whether it is within plan is not known."
    )
    console.print(f"The program was not run: {why}. {in_study}", markup=False)
    return 0


def _report(console: Console, record: StudyRecord, trial: Trial, seen: Execution) -> bool:
    """Print the result of the program's run; returns whether it equals that in the study's report."""
    console.print(
        f"Self-check on {seen.images} search images: arena {seen.arena_bytes:,} B, written up to byte "
        f"{seen.high_water_bytes:,}, nothing outside it; stack {seen.stack_bytes:,} B: within plan; "
        f"{100 * seen.label_agreement:.3f} % of the labels are those that were scored; {seen.milliseconds:.1f} ms."
        if seen.holds
        else f"Self-check on {seen.images} search images: {trial.label} exceeds its plan: "
        f"{'; '.join(seen.excesses)}. {KEPT}",
        style=None if seen.holds else "red",
        markup=False,
    )
    known = record.executions.get(trial.number)
    if seen.holds and known is not None and not known.holds:
        console.print(f"In the study it {told_status(record, trial.number)}.", style="red", markup=False)
    if known is None or seen.failure is not None or known.failure is not None:
        return True
    same = (known.arena_bytes, known.high_water_bytes, known.label_agreement) == (
        seen.arena_bytes,
        seen.high_water_bytes,
        seen.label_agreement,
    )
    console.print(
        "Arena, high water and labels equal those in the study's report."
        if same
        else f"The study's report differs: arena {known.arena_bytes:,} B, written up to byte "
        f"{known.high_water_bytes:,}, {100 * known.label_agreement:.3f} % of the labels. It was run on another "
        "machine, or by another version."
    )
    return same


def _report_tflite(console: Console, made: Shipped, context: Context, content: bytes) -> None:
    """Print the share of LiteRT's labels that equal those of the C program; its fast kernels round otherwise."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    size, images = input_size(made.graph), context.images.search
    count = min(PROOF_IMAGES, len(images))
    frames = np.stack([to_network_size(images.image(i), *size) for i in range(count)])
    wanted = made.runner.labels(frames)
    try:
        interpreter = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        equal = []
        for frame, labels in zip(frames, wanted, strict=True):
            values = frame if entry["dtype"] is np.uint8 else real_pixels(made.graph, frame)
            interpreter.set_tensor(entry["index"], values[None])
            interpreter.invoke()
            equal.append(np.mean(interpreter.get_tensor(result["index"])[0] == labels))
        console.print(f"LiteRT gives {100 * np.mean(equal):.3f} % of the same labels for {TFLITE_FILE}.")
    except (RuntimeError, ValueError) as error:
        console.print(f"LiteRT does not run {TFLITE_FILE}: {' '.join(str(error).split())[:200]}")
