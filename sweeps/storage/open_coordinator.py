"""The coordinator of a configuration."""

from __future__ import annotations

import os
import platform
import uuid

from sweeps.config.schema import SweepConfig
from sweeps.storage.coordinator import Coordinator
from sweeps.storage.local_coordinator import LocalCoordinator
from sweeps.storage.postgres_coordinator import PostgresCoordinator


def open_coordinator(config: SweepConfig) -> Coordinator:
    """A coordinator in the database of `storage.url`, for several processes; else in the study's folder."""
    storage, trials = config.storage, config.search.trials
    if storage.url is None:
        return LocalCoordinator(config.folder, trials)
    owner = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    return PostgresCoordinator(storage.url, config.study, owner, storage.lease_seconds, trials)
