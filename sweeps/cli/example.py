"""The configuration of the default study, as a file to begin with.

petitlab example > pareto.yaml
"""

from __future__ import annotations

from importlib.resources import files

import typer

from evaluation.errors import exits_on_user_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def example() -> None:
    """Print the YAML file of the default study: a built-in network on street scenes that the program draws.

    petitlab example > pareto.yaml && petitlab launch pareto.yaml
    """
    print(files("sweeps").joinpath("examples", "pareto.yaml").read_text(encoding="utf-8"), end="")


main = exits_on_user_error(app)


if __name__ == "__main__":
    main()
