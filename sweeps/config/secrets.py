"""Refuse secrets in a configuration, which is copied into the study, its report and MLflow.

The whole tree of a file is searched before it is validated, so that no other message can repeat a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.addresses import is_secret_name, remember, secret_in
from evaluation.errors import UserError
from evaluation.yaml_file import KeyPath

DATABASES = "PGPASSWORD or ~/.pgpass"
STORES = "the store's own configuration, such as ~/.aws/credentials or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
TRACKING = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
RAY = "~/.ray/auth_token"
_DEPTH = 100
"""Depth to which a tree is searched; no key of a sweep is deeper than four."""


def without_secret(value: str) -> str:
    """Return the value unchanged if it holds no secret.

    Raises:
        ValueError: it holds a secret; the message says where secrets belong, and does not repeat it.
    """
    if found := secret_in(value):
        raise ValueError(_refusal(found, value))
    return value


def refuse_secrets(tree: Any, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, str], file: object) -> None:
    """Search a configuration's tree for secrets.

    Args:
        lines: line number of each key in `file`.
        origins: text `-o KEY=...` of each overridden key.

    Raises:
        UserError: a value holds a secret, or a key has the name of one; the message names the key and its line.
    """
    for keys, found, value in _secrets(tree, ()):
        remember(value)
        name = ".".join(map(str, keys))
        where = f"-o {name}" if any(keys[: len(known)] == known for known in origins) else None
        if where is None:
            line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
            where = f"{file}:{line}: {name}" if line else f"{file}: {name}"
        raise UserError(f"{where}: {_refusal(found, value)}")


def _secrets(tree: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:
    """(keys, kind, value) of every secret."""
    if len(keys) > _DEPTH:
        return
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(key, str) and (found := secret_in(key)):
                yield (*keys, "?"), found, key
            elif isinstance(key, str) and isinstance(value, str) and value and len(key) > 4 and is_secret_name(key):
                yield (*keys, key), "a secret", value
            else:
                yield from _secrets(value, (*keys, key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _secrets(value, (*keys, index))
    elif isinstance(tree, str) and (found := secret_in(tree)):
        yield keys, found, tree


def _refusal(found: str, value: str) -> str:
    scheme = value.partition("://")[0].lower().rpartition("::")[2]
    if scheme.startswith(("postgres", "mysql")) or "dbname=" in value or "host=" in value:
        place = DATABASES
    elif scheme.startswith("http"):
        place = TRACKING
    elif scheme.startswith("ray"):
        place = RAY
    elif "://" in value:
        place = STORES
    else:
        place = f"the environment: {DATABASES}, {TRACKING}"
    return f"holds {found}, which would be copied into reports and logs; put it into {place}"
