"""The commands around a sweep: `sweeps launch`, `sweeps status`, `sweeps export`, `sweeps cache`."""

from __future__ import annotations

import typer

from evaluation.errors import exits_on_user_error
from sweeps import export, launch
from sweeps.cli import cache, status

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help="Search, watch, hand over."
)
app.command("launch")(launch.launch)
app.command("status")(status.status)
app.command("export")(export.export)
app.add_typer(cache.app, name="cache")


main = exits_on_user_error(app)


if __name__ == "__main__":
    main()
