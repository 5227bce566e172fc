"""The keys of a sweep's YAML file: their types, units, defaults and limits.

Loading a file, with messages that name its lines, is `sweeps.config.load`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from deeplab.datasets import DATASETS, checked_options
from deeplab.importing import ChannelOrder, InputContract, Kind, Unstated, kind_of
from evaluation.errors import UserError
from evaluation.former_keys import OF_STREETS, FormerKeys
from sweeps.config.compression import (
    MOST_MB,
    MOST_PIXELS,
    MOST_STEPS,
    MOST_WORKERS,
    ChannelsConfig,
    FineTuneConfig,
    QuantizationConfig,
    Side,
    SpaceConfig,
    StrictModel,
)
from sweeps.config.secrets import without_secret

DataSetName = Literal["streets", "camvid", "cityscapes", "voc", "ade20k", "folder"]
"""The keys of `deeplab.datasets.DATASETS`."""
SamplerName = Literal["ehvi", "tpe", "nsga2", "gp", "qmc", "grid", "random"]
ThirdObjective = Literal["macs", "flash_mb"]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Above0 = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
LONGEST_S = 1e7
"""Longest time limit, in seconds; the operating system's timers take at most about 1e9."""
SPLIT_PATTERN = re.compile(r"(?P<name>\w+)(\[(?P<start>\d{0,9}):(?P<stop>\d{0,9})\])?")


def parse_split(text: str) -> tuple[str, slice]:
    """`"val"` -> ("val", all); `"val[:27]"`, `"val[27:]"`, `"val[10:20]"` -> that part, in the data set's order."""
    match = SPLIT_PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a split; write it as name, name[:n], name[n:] or name[m:n]")
    start, stop = match["start"], match["stop"]
    return match["name"], slice(int(start) if start else None, int(stop) if stop else None)


def _checked_split(text: str) -> str:
    parse_split(text)
    return text


def _checked_database(url: str) -> str:
    from sqlalchemy.engine import make_url  # imported here: workers load this module and need no SQLAlchemy
    from sqlalchemy.exc import ArgumentError

    without_secret(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        raise ValueError(f"{url!r} is no address of a database; write postgresql://USER@HOST/DATABASE") from None
    if not parsed.drivername.startswith("postgresql"):
        raise ValueError(f"must begin with postgresql://, found {parsed.drivername}://")
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"must begin with postgresql://, found the driver {parsed.drivername}")
    return url


def _checked_options(options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """The options as given; the data set adds its own defaults."""
    if (name := info.data.get("name")) in DATASETS:
        try:
            checked_options(DATASETS[name].options, options)
        except UserError as error:
            raise ValueError(f"of the data set {name}: {error}") from None
    return options


def _split_for(use: str) -> Any:
    """A field whose default is the split that the data set of the same section declares for `use`."""
    return Field(default_factory=lambda section: getattr(DATASETS[section["name"]].splits, use))


Split = Annotated[str, AfterValidator(_checked_split)]
DatasetOptions = Annotated[dict[str, Any], AfterValidator(_checked_options)]
Address = Annotated[str, AfterValidator(without_secret)]
"""Address of a server or a store, without a secret."""


class CalibrationConfig(StrictModel):
    """Images for the activation ranges and for `distill`. Their labels are never used."""

    name: DataSetName
    path: Path | None = None
    """Folder of the data set. Relative to the YAML file."""
    options: DatasetOptions = Field(default_factory=dict)
    """Options of this data set, as for `data.options`."""
    split: Split = _split_for("train")
    images: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 64
    """Number of images, evenly spaced over the split."""


class DataConfig(StrictModel):
    """Three disjoint uses of images: training and calibration, search, held-out."""

    name: DataSetName
    """streets (drawn by the program), camvid, cityscapes, voc, ade20k (their official layouts) or folder."""
    path: Path | None = None
    """Folder of the data set; `streets` draws its own images and needs none. Relative to the YAML file."""
    options: DatasetOptions = Field(default_factory=dict)
    """Options of this data set, e.g. {seed: 7} for `streets` or {void: 11} for `folder`."""
    search: Split = _split_for("search")
    """Split on which candidates are scored: a name, or part of one such as val[:27]."""
    heldout: Split = _split_for("heldout")
    """Split on which the final front is scored, once. Must not overlap `search`."""
    train: Split | None = _split_for("train")
    """Labelled split for fine-tuning with `loss: labels`. null where there is none."""
    calibration: CalibrationConfig | None = None
    """null: the images of `train`."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if not DATASETS[self.name].is_generated and self.path is None:
            raise ValueError(f"the data set {self.name!r} needs a folder; add path")
        if _overlap(parse_split(self.search), parse_split(self.heldout)):
            raise ValueError(f"search {self.search!r} and heldout {self.heldout!r} share images; they must be disjoint")
        if self.train is not None:
            for use in (self.search, self.heldout):
                if _overlap(parse_split(self.train), parse_split(use)):
                    raise ValueError(f"train {self.train!r} shares images with {use!r}; they must be disjoint")
        return self


def _overlap(one: tuple[str, slice], other: tuple[str, slice]) -> bool:
    if one[0] != other[0]:
        return False
    start = max(one[1].start or 0, other[1].start or 0)
    stops = [part.stop for _, part in (one, other) if part.stop is not None]
    return not stops or start < min(stops)


_OF_A_FILE = ("input", "output", "resize")
_LEFT_OPEN: dict[Kind, tuple[str, ...]] = {
    "tflite": _OF_A_FILE,
    **dict.fromkeys(("onnx", "keras", "saved model"), (*_OF_A_FILE, "input_size")),
    "frozen graph": ("input_size", "output", "resize"),
    "checkpoint": ("input_size", "output_stride", "atrous_rates", "resize"),
}
"""Keys of `NetworkConfig` by kind of file."""


class InputConfig(StrictModel):
    """What a pixel is to an imported network: (scale * pixel - mean) / std."""

    mean: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=3)] = (0.0,)
    """One for all channels or one for each, in the order of the network's channels; torchvision's is
    [0.485, 0.456, 0.406]."""
    std: Annotated[tuple[Above0, ...], Field(min_length=1, max_length=3)] = (1.0,)
    """As mean; torchvision's is [0.229, 0.224, 0.225]."""
    scale: Above0 = 1.0 / 255.0
    """What pixels of 0 to 255 are multiplied by, before mean and std."""
    order: ChannelOrder = "rgb"
    """Order of the network's input channels."""

    @model_validator(mode="after")
    def _one_for_each(self) -> InputConfig:
        for name in ("mean", "std"):
            if len(getattr(self, name)) == 2:
                raise ValueError(f"{name} has 2 values, expected one for all channels or one for each of the three")
        return self

    def contract(self) -> InputContract:
        return InputContract(self.mean, self.std, self.scale, self.order)


class NetworkConfig(StrictModel):
    """The trained network."""

    source: str = "streets"
    """`streets` (shipped with the package), or the path of a whole network, relative to the YAML file: a checkpoint
    (.npz), a TFLite file (.tflite), an ONNX file (.onnx; float, or QDQ int8), a Keras model (.keras, .h5), the folder
    of a SavedModel, a frozen graph (.pb), or a checkpoint of `tensorflow/models`' DeepLab (model.ckpt)."""
    input: InputConfig | None = None
    """What a pixel is to a network of a TFLite, ONNX, Keras or SavedModel file. null: what the file's own scaling or
    quantization of its input says; without these, values in [-1, 1]."""
    output: str | None = None
    """Name of the output whose largest channel is the label, of a file with several (such as that of an auxiliary
    head)."""
    input_size: tuple[Side, Side] | None = None
    """Input height and width of a TensorFlow checkpoint (null: 513 x 513), or of another file that leaves them open."""
    output_stride: Literal[8, 16] | None = None
    """Output stride of a TensorFlow checkpoint: strides past it become dilations. null: 16."""
    atrous_rates: tuple[Annotated[int, Field(ge=1, le=MOST_PIXELS)], ...] | None = None
    """Dilation rates of the atrous branches of a TensorFlow checkpoint. null: [6, 12, 18], doubled at output stride
    8."""
    resize: Literal["legacy", "align_corners", "half_pixel"] | None = None
    """Bilinear convention of a TensorFlow checkpoint (null: align_corners, as in `tensorflow/models`), or of the resize
    that brings another network's logits to the size of its image, where they have another (null: half_pixel)."""

    @model_validator(mode="after")
    def _known(self) -> NetworkConfig:
        try:
            kind = "petitlab" if self.source == "streets" else kind_of(Path(self.source))
        except UserError as error:
            raise ValueError(f"source must be 'streets' or the path of a network file; {error}") from None
        stated = [name for name, value in self if name != "source" and value is not None]
        allowed = _LEFT_OPEN.get(kind, ())
        for name in stated:
            if name not in allowed:
                raise ValueError(f"source {self.source} says its {name} itself; remove {name}")
        return self

    def unstated(self) -> Unstated:
        """The settings that the file does not contain."""
        given = {name: getattr(self, name) for name in ("input_size", "output_stride", "atrous_rates")}
        return Unstated(
            **{name: value for name, value in given.items() if value is not None},
            resize=self.resize,
            contract=None if self.input is None else self.input.contract(),
            output=self.output,
        )


class SearchConfig(StrictModel):
    """The search. Two objectives are fixed: mIoU is maximised, peak memory minimised."""

    trials: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 28
    """Total number of distinct measured candidates, the baseline included. Repeats, answered from the journal, and
    candidates that their plan rules out, in about a second, do not count."""
    sampler: SamplerName | None = None
    """ehvi (greatest expected gain of hypervolume per second), tpe (multivariate), nsga2, gp (needs torch), qmc, grid
    or random. null: ehvi, or tpe where there is a third objective."""
    third_objective: ThirdObjective | None = None
    """macs or flash_mb, minimised too. null: two objectives."""
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = 1
    """Processes that evaluate trials in parallel, each with its own TensorFlow."""
    threads: Annotated[int, Field(ge=1, le=MOST_WORKERS)] | None = None
    """Threads of TensorFlow and of linear algebra in each worker. null: the machine's cores divided by the workers. The
    number of threads changes the order of summation, so results may differ in their last bits."""
    trial_seconds: Annotated[float, Field(gt=0, le=LONGEST_S)] = 3600.0
    """Time limit of a trial, in seconds. At the limit its worker is ended and the trial fails."""
    worker_memory_mb: Annotated[float, Field(gt=0, le=MOST_MB)] | None = None
    """Limit of a worker's resident memory, in MB (10^6 bytes). At the limit the worker is ended and its trial fails.
    null: no limit."""
    worker_trials: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 200
    """Trials after which a worker is replaced: TensorFlow's memory grows with every network shape it traces."""
    retries: Annotated[int, Field(ge=0, le=100)] = 1
    """Retries of a trial whose worker crashed or was killed by the system. A trial that raises an error or exceeds
    `trial_seconds` or `worker_memory_mb` is not retried, since it would fail again."""
    failures_in_a_row: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 5
    """Consecutive failed trials after which the sweep stops."""

    @model_validator(mode="after")
    def _two_objectives(self) -> SearchConfig:
        if self.sampler == "ehvi" and self.third_objective is not None:
            raise ValueError("the sampler 'ehvi' knows two objectives; choose tpe, or leave third_objective out")
        return self

    @property
    def sampler_name(self) -> str:
        return self.sampler or ("ehvi" if self.third_objective is None else "tpe")

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the minimised objectives."""
        return ("peak_memory_mb",) if self.third_objective is None else ("peak_memory_mb", self.third_objective)


class ScreeningConfig(StrictModel):
    """Screening: candidates that are predicted to be dominated are not measured, or not on all images."""

    enabled: bool = True
    """false: every candidate within the limits is measured."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.01
    """mIoU (0..1 scale) by which a smaller network may score above a larger one: noise of rounding and training."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    """Confidence, from the images scored so far, with which a trial of no higher cost must be better."""
    audit: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the candidates to be pruned that is measured nevertheless; the report states how often pruning would
    have been wrong."""


class ConstraintsConfig(StrictModel):
    """Limits of a feasible candidate. null = no limit."""

    peak_memory_mb: Annotated[float, Field(gt=0, le=MOST_MB)] | None = None
    """Largest peak memory, in MB (10^6 bytes). It is planned first: a candidate above it is pruned before any
    training."""
    flash_mb: Annotated[float, Field(gt=0, le=MOST_MB)] | None = None
    """Most flash, in MB (10^6 bytes), for a target with weights in flash. It is planned first, too."""
    macs: Annotated[float, Field(gt=0, le=1e18)] | None = None
    """Most multiply-accumulates for one image, recomputed rows included. It is planned first, too."""
    miou_drop: Annotated[float, Field(gt=0, le=1)] | None = None
    """Largest loss of mIoU against the baseline, on the 0..1 scale (0.02 = two points)."""


class ImportCheckConfig(StrictModel):
    """Check that an imported network scores its published mIoU, before the search."""

    miou: Annotated[float, Field(ge=0, le=1)]
    """Published mIoU, on the 0..1 scale."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.005
    split: Split = "all"
    """Images on which the published mIoU was measured."""


class ExecutorConfig(StrictModel):
    """The worker processes."""

    kind: Literal["local", "ray"] = "local"
    """local: processes of this machine; ray: actors of a Ray cluster (pip install 'petitlab[cluster]')."""
    address: Address | None = None
    """Address of a running Ray cluster, e.g. auto or 10.0.0.1:6379. null: Ray is started here."""
    gpus: Annotated[float, Field(ge=0, le=MOST_WORKERS)] = 0.0
    """GPUs of each Ray worker; with 0.5 two workers share one."""


class StorageConfig(StrictModel):
    """Storage for a study on which several processes, on one or more machines, work at once."""

    url: Annotated[str, AfterValidator(_checked_database)] | None = None
    """postgresql://USER@HOST/DATABASE; its password belongs into PGPASSWORD or ~/.pgpass. Every process needs the same
    `out` (for plans and report) and cache, on a shared disk or address. null: files in the study's folder."""
    lease_seconds: Annotated[float, Field(ge=5, le=LONGEST_S)] = 60.0
    """Seconds without a heartbeat after which a process is considered dead, and others take over its trials."""


class CacheConfig(StrictModel):
    """The stage cache: results of finished stages are reused."""

    place: Address | None = None
    """Folder (relative to where the command is started), or an address that fsspec knows, such as s3://bucket/cache;
    its keys belong into the store's own configuration. null: .cache in `out`."""
    max_gb: Annotated[float, Field(gt=0, le=1e6)] | None = 20.0
    """Size in GB (10^9 bytes) above which the least recently used entries are evicted. null: no limit."""


class ReportConfig(StrictModel):
    paper: Literal["a4", "letter"] = "a4"
    """Page size."""
    documents: bool = True
    """Write `report.pdf` and `front.html` at the end. false: `petitlab report STUDY` writes them later."""
    overlays: Annotated[int, Field(ge=0, le=8)] = 4
    """Rows of image / label / baseline / selected configuration, the image with its lowest score among them."""


class ChoiceConfig(StrictModel):
    """The rule that selects one point of the front."""

    rule: Literal["knee", "budget", "max_drop"] = "knee"
    """knee: farthest from the line between the front's ends; budget: best mIoU within `budget_mb`; max_drop: least
    memory within `max_drop` of the baseline's mIoU. A point whose C program exceeds its plan is skipped while one
    within plan fits the rule."""
    budget_mb: Annotated[float, Field(gt=0, le=MOST_MB)] | None = None
    """Peak memory in MB (10^6 bytes), for `budget`."""
    max_drop: Annotated[float, Field(ge=0, le=1)] | None = None
    """Loss of mIoU on the 0..1 scale, for `max_drop`."""

    @model_validator(mode="after")
    def _has_its_number(self) -> ChoiceConfig:
        if self.rule == "budget" and self.budget_mb is None:
            raise ValueError("the rule 'budget' needs budget_mb, the MB of peak memory to stay within")
        if self.rule == "max_drop" and self.max_drop is None:
            raise ValueError("the rule 'max_drop' needs max_drop, the mIoU that may be lost, e.g. 0.02")
        return self


class SweepConfig(StrictModel):
    """The configuration of one sweep. Its paths are absolute once the file is loaded."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the study, of its folder and of its MLflow experiment: letters, digits, dot, dash, underscore."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the sampler, of fine-tuning and of the bootstrap."""
    out: Path = Path("studies")
    """Parent of the study's folder. Relative to the current folder, where mlflow.db is too."""
    network: NetworkConfig = NetworkConfig()
    data: DataConfig
    space: SpaceConfig = SpaceConfig()
    channels: ChannelsConfig = ChannelsConfig()
    search: SearchConfig = SearchConfig()
    screening: ScreeningConfig = ScreeningConfig()
    constraints: ConstraintsConfig = ConstraintsConfig()
    finetune: FineTuneConfig = FineTuneConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    target: str = "camera"
    """camera (weights in RAM), mcu (weights in flash), or the path of a target's YAML file."""
    max_mac_overhead: Annotated[float, Field(ge=0, le=100)] = 0.05
    """Largest MAC overhead of tiling, as a share of the untiled network's multiply-accumulates."""
    import_check: ImportCheckConfig | None = None
    executor: ExecutorConfig = ExecutorConfig()
    storage: StorageConfig = StorageConfig()
    cache: CacheConfig = CacheConfig()
    report: ReportConfig = ReportConfig()
    choice: ChoiceConfig = ChoiceConfig()

    @field_validator("target")
    @classmethod
    def _known_target(cls, target: str) -> str:
        if target not in ("camera", "mcu") and Path(target).suffix not in (".yaml", ".yml"):
            raise ValueError(f"must be camera, mcu or the path of a .yaml file, got {target!r}")
        return target

    @model_validator(mode="after")
    def _images_to_learn_from(self) -> SweepConfig:
        if self.data.train is None and self.data.calibration is None:
            raise ValueError("data needs train or calibration: images that set the activation ranges")
        trains = self.finetune.steps or self.quantization.aware_steps
        if self.data.train is None and trains and self.finetune.loss == "labels":
            raise ValueError("finetune.loss 'labels' needs data.train; give one, or set finetune.loss to distill")
        return self

    @property
    def cache_place(self) -> str:
        """Folder or address of the stage cache."""
        return self.cache.place or str(self.out / ".cache")

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.out / self.study

    def identity(self) -> dict[str, Any]:
        """The flat keys that identify this study: all but those that a resumed study may change."""
        return {key: value for key, value in flatten(self.model_dump(mode="json")).items() if not _may_change(key)}


FORMER_KEYS: FormerKeys = {
    ("data", "calibration", "pictures"): "images",
    ("data", "calibration", "options", "train_pictures"): "train_images",
    **OF_STREETS,
}
MAY_CHANGE = (
    "out", "executor", "storage", "cache", "report", "choice", "search.trials", "search.workers", "search.threads",
    "search.trial_seconds", "search.worker_memory_mb", "search.worker_trials", "search.retries",
    "search.failures_in_a_row",
)  # fmt: skip


def _may_change(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
