"""The settings in a study's record, for a later export of one of its trials."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from pydantic import ValidationError

from evaluation.errors import UserError
from evaluation.former_keys import rename_former_keys
from reports.record import RECORD_FILE, StudyRecord, Trial
from sweeps.config.schema import FORMER_KEYS, SweepConfig
from sweeps.config.space import Candidate
from sweeps.storage.blob_store import SUFFIX


def settings_of(record: StudyRecord, study: Path, trial: Trial) -> tuple[SweepConfig, Candidate]:
    """The configuration of a study and the candidate of one of its trials, from the record.

    Raises:
        UserError: either is not valid in this version.
    """
    try:
        settings = copy.deepcopy(dict(record.config))
        rename_former_keys(settings, FORMER_KEYS)
        config = SweepConfig.model_validate_json(json.dumps(settings))
        return config, Candidate.from_params(trial.params)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        problem = f"config.{'.'.join(map(str, detail['loc']))}: {detail['msg'].lower()}"
    except (TypeError, ValueError) as error:
        problem = f"params of trial {trial.number}: {error}"
    raise UserError(
        f"{study / RECORD_FILE}: damaged: {' '.join(problem.split())[:200]}; correct it, or write it again: "
        "python -m sweeps.launch CONFIG --resume"
    )


def with_own_cache(config: SweepConfig, study: Path, scratch: Path) -> SweepConfig:
    """The configuration of a record with caches that may be written: an existing cache next to the study, a folder that
    contains only a stage cache, or else `scratch`. A record may come from another person, and must not make an export
    write to, or remove from, any other folder or address; nor does an export create a cache outside `scratch`.
    """
    place = config.cache.place
    out = study.resolve().parent
    if not (out / ".cache").is_dir() or (out / ".cache").is_symlink():
        out = scratch
    if place is not None and ("://" in place or not is_stage_cache(Path(place))):
        place = str(scratch / ".cache")
    return config.model_copy(update={"out": out, "cache": config.cache.model_copy(update={"place": place})})


def is_stage_cache(folder: Path) -> bool:
    """Whether a folder exists and contains cache entries only."""
    try:
        stages = list(folder.iterdir())
        files = [file for stage in stages for file in stage.iterdir()]
    except OSError:
        return False
    return bool(files) and all(file.suffix in (SUFFIX, ".lock", ".part") for file in files)
