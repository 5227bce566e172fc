"""What must hold in a record beyond types: ranges, names of files, trials that exist, lengths that agree.

Each check raises `RecordError`, which names the value's place in the JSON and what was expected there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.accuracy import Scores
from reports.files import name_problem, shown
from reports.record import State, StudyRecord, Trial

Where = tuple[str | int, ...]
"""Keys and indices from the top of the file to a value."""
MOST_WHOLE = 2**63 - 1
MOST_REAL = 1e15
SIGNED = frozenset({"resident_bytes", "resident_after_bytes"})
"""Whole numbers that may be below zero: growth of a process. All others are sizes, counts and numbers of trials."""
SIGNED_REAL = frozenset({"mac_overhead", "upper", "miou", "dominating_miou", "expected_miou"})
SHARES = frozenset({"label_agreement"})
PARAMS = ("pruning", "sparsity", "weight_bits", "activation_bits", "tile_count")
STEPS = ("baseline", "pruning", "bits", "tiles")


class RecordError(ValueError):
    """A value of a record is not what the schema asks for."""

    def __init__(self, where: Where, problem: str) -> None:
        super().__init__(f"{at(where)}: {problem}" if where else problem)


def at(where: Where) -> str:
    """("trials", 3, "state") -> "trials[3].state"."""
    text = ""
    for part in where:
        key = part if isinstance(part, str) and part.replace("_", "").isalnum() else shown(part, 40)
        text += f"[{part}]" if isinstance(part, int) else f".{key}" if text else key
    return text


class _Open(BaseModel):
    """A section of the configuration of which the report reads some keys; `sweeps` checks the others."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


Real = Annotated[float, Field(gt=0, le=MOST_REAL)]


class _Network(_Open):
    source: str = ""


class _Search(_Open):
    third_objective: Literal["macs", "flash_mb"] | None = None


class _Choice(_Open):
    rule: str = "knee"
    budget_mb: Real | None = None


class _Constraints(_Open):
    peak_memory_mb: Real | None = None


class _Report(_Open):
    paper: Literal["a4", "letter"] = "a4"


class _Space(_Open):
    sparsity: list[float] | None = None
    tile_count: list[int] | None = None
    weight_bits: list[int] | None = None
    activation_bits: list[int] | None = None
    aspp_weight_bits: list[int] | None = None
    decoder_weight_bits: list[int] | None = None
    aspp_activation_bits: list[int] | None = None
    decoder_activation_bits: list[int] | None = None


class _Config(_Open):
    """What the report reads of the configuration."""

    seed: Annotated[int, Field(ge=0, le=MOST_WHOLE)] = 0
    network: _Network = _Network()
    data: dict[str, Any] = {}
    search: _Search = _Search()
    choice: _Choice = _Choice()
    constraints: _Constraints = _Constraints()
    report: _Report = _Report()
    space: _Space = _Space()


class _Change(_Open):
    """A change of the configuration in mid-study."""

    trials: Annotated[int, Field(ge=0, le=MOST_WHOLE)]
    keys: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]
    inputs: dict[str, Annotated[list[str], Field(min_length=2, max_length=2)]] = {}


def check_record(record: StudyRecord) -> None:
    """Raise `RecordError` for the first thing in a record that contradicts another, or is out of range."""
    _check_open(("config",), _Config, record.config)
    for index, change in enumerate(record.changes):
        _check_open(("changes", index), _Change, change)
    for where, value in _numbers((), record):
        _check_number(where, value)
    known = _check_trials(record)
    _check_front(record, known)
    for number in record.other_runtimes:
        if not _is_complete(known.get(number)):
            raise RecordError(("other_runtimes", str(number)), f"trial {number} is no complete trial")
    for index, row in enumerate(record.overlays):
        for name in ("image_file", "label_file", "baseline_file", "choice_file"):
            _check_name(("overlays", index, name), getattr(row, name))
    for index, step in enumerate(record.chain):
        if step.what not in STEPS:
            raise RecordError(("chain", index, "what"), f"must be one of {', '.join(STEPS)}, found {shown(step.what)}")
        _check_memory(("chain", index, "memory"), step.memory)
    if record.chain and record.chain[0].what != "baseline":
        raise RecordError(("chain", 0, "what"), "the first step must be baseline")
    try:
        datetime.fromisoformat(record.environment.started)
    except ValueError:
        found = shown(record.environment.started, 40)
        raise RecordError(
            ("environment", "started"), f"must be a time as 2026-11-23T10:00:00+00:00, found {found}"
        ) from None
    _check_data(record)


def _check_open(where: Where, model: type[BaseModel], value: Any) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        rest = resolved(detail["loc"], value, detail["type"] == "missing")
        raise RecordError((*where, *rest), problem_of(detail)) from None


def _numbers(where: Where, value: Any) -> Iterator[tuple[Where, int | float]]:
    """Every number in the fields of nested dataclasses, and where it is."""
    if isinstance(value, bool | Scores):
        return
    if isinstance(value, int | float):
        yield where, value
    elif is_dataclass(value):
        for field in fields(value):
            if field.name not in ("config", "changes"):
                yield from _numbers((*where, field.name), getattr(value, field.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _numbers((*where, index), item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers((*where, str(key)), item)


def _check_number(where: Where, value: int | float) -> None:
    name = where[-1]
    least: float
    most: float
    if isinstance(value, int):
        least, most = (-MOST_WHOLE if name in SIGNED else 0), MOST_WHOLE
    else:
        least, most = (-MOST_REAL if name in SIGNED_REAL else 0.0), (1.0 if name in SHARES else MOST_REAL)
    if not least <= value <= most:
        raise RecordError(where, f"must be {least:g} to {most:g}, found {shown(value, 40)}")


def _check_trials(record: StudyRecord) -> dict[int, Trial]:
    """The trials by number, each checked."""
    known: dict[int, Trial] = {}
    for index, trial in enumerate(record.trials):
        where = ("trials", index)
        if trial.number in known:
            raise RecordError((*where, "number"), f"{trial.number} is the number of an earlier trial, too")
        known[trial.number] = trial
        _check_trial(where, trial)
    return known


def check_trial(trial: Trial) -> None:
    """Raise `RecordError` where a trial, by itself, contradicts itself."""
    for where, value in _numbers((), trial):
        _check_number(where, value)
    _check_trial((), trial)


def _check_trial(where: Where, trial: Trial) -> None:
    """What a trial's state promises, its figures, and the names in it."""
    complete = trial.state is State.COMPLETE
    if complete is not (trial.measurement is not None):
        found = "there is none" if trial.measurement is None else "there is one"
        raise RecordError((*where, "measurement"), f"must be given exactly where state is complete; {found}")
    if trial.feasible and not complete:
        raise RecordError((*where, "feasible"), f"must be false where state is {trial.state}")
    for name in PARAMS:
        if name not in trial.params:
            raise RecordError((*where, "params", name), "is missing")
        if isinstance(trial.params[name], str) is not (name == "pruning"):
            raise RecordError((*where, "params", name), f"must be {'a text' if name == 'pruning' else 'a number'}")
    for name, value in trial.params.items():
        if name not in PARAMS and name.partition("_")[2] not in PARAMS:  # a stage's own: aspp_weight_bits
            raise RecordError((*where, "params", name), "names no searched value")
        if name not in ("pruning", "sparsity") and not isinstance(value, int):
            raise RecordError((*where, "params", name), f"must be a whole number, found {shown(value, 40)}")
    if trial.plan_file is not None:
        _check_name((*where, "plan_file"), trial.plan_file)
    if trial.planned is not None:
        _check_memory((*where, "planned"), trial.planned)
    if trial.measurement is not None:
        measurement = trial.measurement
        inner = (*where, "measurement")
        _check_memory((*inner, "memory"), measurement.memory)
        if not measurement.scores.scored_classes or not measurement.scores.image_ids:
            raise RecordError((*inner, "scores"), "a complete trial must have an image and a scored class")
        if measurement.latency is not None and not min(measurement.latency.program_ms, measurement.latency.untiled_ms):
            raise RecordError((*inner, "latency"), "its times must be above 0")


def _check_memory(where: Where, memory: Any) -> None:
    for name in ("peak_memory_bytes", "arena_bytes", "lower_bound_bytes"):
        if getattr(memory, name) < 1:
            raise RecordError((*where, name), f"must be at least 1, found {getattr(memory, name)}")


def _check_name(where: Where, name: str) -> None:
    if problem := name_problem(name):
        raise RecordError(where, f"must be relative to the study's folder and within it; {shown(name)} holds {problem}")


def _is_complete(trial: Trial | None) -> bool:
    return trial is not None and trial.state is State.COMPLETE


def _check_front(record: StudyRecord, known: Mapping[int, Trial]) -> None:
    """Front and choice name feasible trials, each once."""
    seen: set[int] = set()
    for index, equal in enumerate(record.front):
        if not equal:
            raise RecordError(("front", index), "must name a trial")
        for place, number in enumerate(equal):
            if number in seen or not _is_complete(known.get(number)) or not known[number].feasible:
                why = "is on it twice" if number in seen else "is no complete and feasible trial"
                raise RecordError(("front", index, place), f"trial {number} {why}")
            seen.add(number)
    if record.chosen is not None and not _is_complete(known.get(record.chosen)):
        raise RecordError(("chosen",), f"trial {record.chosen} is no complete trial")
    if record.chosen is not None and record.chosen not in seen:
        raise RecordError(("chosen",), f"trial {record.chosen} is not on the front")


def _check_data(record: StudyRecord) -> None:
    """As many names and colours as classes, in every score of the study."""
    data = record.data
    scores: list[tuple[Where, Scores]] = [
        (("trials", index, "measurement", "scores"), trial.measurement.scores)
        for index, trial in enumerate(record.trials)
        if trial.measurement is not None
    ]
    scores += [(("heldout", str(number)), found) for number, found in record.heldout.items()]
    if data is not None:
        for index, colour in enumerate(data.palette):
            if len(colour) != 7 or colour[0] != "#" or not all(c in "0123456789abcdefABCDEF" for c in colour[1:]):
                raise RecordError(("data", "palette", index), f'must be as "#rrggbb", found {shown(colour, 40)}')
        if len(data.palette) != len(data.class_names):
            counts = f"{len(data.palette)} for {len(data.class_names)} classes"
            raise RecordError(("data", "palette"), f"must have a colour for each class, found {counts}")
    classes = len(data.class_names) if data is not None else scores[0][1].classes if scores else 0
    for where, found in scores:
        if found.classes != classes:
            raise RecordError(
                (*where, "classes"), f"must be {classes} as elsewhere in the record, found {found.classes}"
            )


def resolved(location: Sequence[str | int], tree: Any, last_is_absent: bool) -> Where:
    """The keys of a location that the file has: pydantic names the member of a union among them."""
    where: list[str | int] = []
    for index, part in enumerate(location):
        known = isinstance(tree, dict) and part in tree
        known = known or (isinstance(tree, list) and isinstance(part, int) and part < len(tree))
        if known:
            tree = tree[part]
        elif not (last_is_absent and index == len(location) - 1):
            continue
        where.append(part)
    return tuple(where)


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "mapping": "an object",
    "dataclass": "an object",
    "model": "an object",
}


def problem_of(detail: Mapping[str, Any]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind == "finite_number":
        return f"must be finite, found {_described(given)}"
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}, found {_described(given)}"
    if kind.endswith("_type") or kind.endswith("_parsing"):
        word = kind.removesuffix("_type").removesuffix("_parsing")
        return f"must be {_EXPECTED.get(word, word)}, found {_described(given)}"
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, found {_described(given)}"


def _described(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list() | tuple():
            return f"a list of {len(value)}"
        case _ if is_dataclass(value):
            return "an object"
    return shown(value, 40)
