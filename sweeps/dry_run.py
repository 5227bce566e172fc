"""`--dry-run`: what a sweep would search, and between which bounds its memory lies. Starts no study.

Nothing is written but the stage cache: which channels go is worked out once, and the sweep finds it there.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evaluation.errors import UserError
from sweeps.closing import ask_all
from sweeps.config import SweepConfig
from sweeps.space import BASELINE
from sweeps.supervisor import Failure, Supervisor
from sweeps.worker import TRIAL_MODULE, PlanOnly, open_worker


def print_dry_run(config: SweepConfig, console: Console, trial_module: str = TRIAL_MODULE) -> None:
    """Print the space, its size, the budget, and the planned memory of its two ends."""
    space = config.space.space()
    size = len(space.candidates())
    table = Table("searched", "levels", title=f"study {config.study}", title_justify="left")
    for name, levels in space.levels().items():
        shown = space.weight_bits if name == "weight_bits" else levels
        table.add_row(name, "  ".join("float" if level == 32 and "bits" in name else f"{level}" for level in shown))
    console.print(table)
    trials = min(config.search.trials, size + (BASELINE not in space.candidates()))
    console.print(
        f"{size} distinct candidates; {trials} of them would be tried by {config.search.sampler} (seed {config.seed}) "
        f"with {config.search.workers} worker{'s' * (config.search.workers > 1)}."
    )
    ends = {"baseline": BASELINE, "smallest": space.smallest()}
    with tempfile.TemporaryDirectory() as scratch, console.status("planning the ends of the space"):
        log = Path(scratch) / "workers.log"
        open_handler = partial(open_worker, config, trial_module)
        with Supervisor(open_handler, 1, log, config.search.trial_seconds) as supervisor:
            planned = ask_all(supervisor, {name: PlanOnly(candidate) for name, candidate in ends.items()})
    for name, candidate in ends.items():
        memory = planned[name]
        if isinstance(memory, Failure):
            raise UserError(f"{name} ({candidate}) cannot be planned: {memory.reason}")
        console.print(
            f"{name:>9}: {memory.peak_memory_bytes / 1e6:8.3f} MB planned peak memory  ({candidate})", highlight=False
        )
    limit_mb = config.constraints.peak_memory_mb
    if limit_mb is not None and planned["smallest"].peak_memory_bytes > limit_mb * 1e6:
        console.print(f"Nothing is likely to fit constraints.peak_memory_mb = {limit_mb:g}.", style="red")
    console.print("Nothing was started.")
