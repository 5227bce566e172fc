"""Hand over a candidate of a study as C sources that run in exactly the memory the study promised.

python -m sweeps.export studies/streets --out network
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.errors import UserError, exits_on_user_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study, e.g. studies/streets.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; must not hold anything else.")],
    trial: Annotated[int | None, typer.Option(metavar="N", help="Trial; the study's choice if left out.")] = None,
) -> None:
    """Write the C program of a trial: sources, Makefile, plan and a README that says how to build and call it."""
    from rich.console import Console

    from deeplab.runtime.bundle import check_folder, write_bundle
    from reports.record import read_record

    record = read_record(study)
    number = _wanted(record, study, trial)
    chosen = record.trial(number)
    check_folder(out)
    graph, planned = _network(record, chosen)
    promised = chosen.measurement.memory
    if planned.arena_bytes != promised.arena_bytes:
        raise UserError(
            f"{study}: {chosen.label} was promised an arena of {promised.arena_bytes} bytes, but this version plans "
            f"{planned.arena_bytes}; run the study again: python -m sweeps.launch CONFIG"
        )
    write_bundle(graph, planned, out)
    console = Console()
    console.print(
        f"{chosen.label} ({chosen.name}): arena {planned.arena_bytes:,} B, weights {planned.weights_bytes:,} B, "
        f"tables and stack {planned.runtime_bytes:,} B.",
        highlight=False,
    )
    console.print(f"Written to {out}; build it with: make -C {out}", highlight=False)


def _wanted(record, study: Path, number: int | None) -> int:
    """The trial to export, once it is known to have a network."""
    if number is None:
        if record.chosen is None:
            raise UserError(f"{study}: nothing was chosen ({record.chosen_reason}); name a trial with --trial")
        return record.chosen
    known = {trial.number: trial for trial in record.trials}
    if number not in known:
        has = f"it has {min(known)} to {max(known)}" if known else "it has none"
        raise UserError(f"{study}: there is no trial {number}; {has}")
    if known[number].measurement is None:
        reason = known[number].reason or "it has no measurement"
        raise UserError(f"{study}: trial {number} is {known[number].state} ({reason}); export one that is complete")
    return number


def _network(record, chosen):
    """The trial's network as a graph and its plan, from the study's stage cache."""
    import json
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from sweeps.config import SweepConfig
    from sweeps.space import Candidate
    from sweeps.trial import network_of, open_context

    config = SweepConfig.model_validate_json(json.dumps(dict(record.config)))
    return network_of(Candidate.from_params(chosen.params), open_context(config))


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
