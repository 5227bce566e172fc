"""The installed packages of petitlab win over folders of the same name.

`python -m` puts the folder where a command is started first on the path, and `reports` or `evaluation` are names that
other folders have, too. Each of our packages calls `claim` before anything else; from then on `import reports`
finds the package that was installed together with the one that is running. Below a folder named as the package of the
command itself (`sweeps/` for `python -m sweeps.launch`) none of our code is reached: `petitlab launch` works there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = ("evaluation", "deeplab", "reports", "sweeps")
HOME = Path(__file__).resolve().parents[1]
ANY_SYSTEM = "PETITLAB_ANY_SYSTEM"
"""Environment variable that lets the packages load where they were never tested."""


class InstalledTogether(MetaPathFinder):
    """Finds our top-level packages next to this one, whatever the path says."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(HOME)]) if fullname in OURS else None


def claim() -> None:
    """Put our packages first. On a system that is not supported, end the process with one line and exit status 2.

    Raises:
        ImportError: a package of one of these names was imported from elsewhere before.
    """
    if not sys.platform.startswith("linux") and not os.environ.get(ANY_SYSTEM):
        print(
            f"petitlab runs on Linux, not on {sys.platform}: use a container, a virtual machine or WSL; "
            f"{ANY_SYSTEM}=1 goes on untested",
            file=sys.stderr,
        )
        raise SystemExit(2)
    for name in OURS:
        loaded = sys.modules.get(name)
        if loaded is not None and not _is_ours(loaded, name):
            place = getattr(loaded, "__file__", None) or list(loaded.__path__)
            raise ImportError(
                f"a package named {name!r} was imported from {place} before petitlab's own at {HOME / name}; import "
                "petitlab first, or run it in a process of its own"
            )
    if InstalledTogether not in sys.meta_path:
        sys.meta_path.insert(0, InstalledTogether)


def _is_ours(module: ModuleType, name: str) -> bool:
    return any(Path(place).resolve() == HOME / name for place in getattr(module, "__path__", ()))
