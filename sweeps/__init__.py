"""The search: configuration, space, study, workers, tracking and the command that starts it all."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

# MLflow would report its use to its makers, and a quarter of writing a trial goes into that; who wants it sets "false".
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def _refuse_namesakes() -> None:
    """Our package names are generic: say so where another package of the same name would be imported instead."""
    ours = Path(__file__).resolve().parents[1]
    for name in ("evaluation", "deeplab", "reports"):
        found = find_spec(name)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin is None or origin.parents[1] != ours:
            print(
                f"error: the package '{name}' that Python finds is {origin or 'missing'}, not {ours / name}; "
                "install petitlab in a virtual environment of its own, or remove the other package from the path",
                file=sys.stderr,
            )
            sys.exit(2)


_refuse_namesakes()
