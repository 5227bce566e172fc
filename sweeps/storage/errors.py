"""Errors of disks and databases, as the libraries wrap them, turned into `UserError`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from evaluation.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn an error of a disk or database, however wrapped, into a `UserError` that says how to continue."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Imported here: they take seconds, which a user's mistake should not cost.
        from mlflow.exceptions import MlflowException
        from optuna.exceptions import StorageInternalError

        kinds = (OSError, DBAPIError, StorageInternalError, MlflowException)
        reason = _reason(error) if isinstance(error, kinds) else None
        if reason is None:
            raise
        raise UserError(
            f"{reason}; nothing measured is lost: correct it, and continue with --resume ({folder})"
        ) from error


def _reason(error: BaseException | None) -> str | None:
    """A text for the first in the chain of an error's causes that a user can correct; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return f"no space is left on the disk of {error.filename or 'the study'}"
        if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
            return f"{error.filename or 'the study'} cannot be written ({error.strerror})"
        if isinstance(error, DBAPIError):
            text = str(error.orig).splitlines()[0]
            if "disk is full" in text or "disk I/O error" in text:
                return f"no space is left for a database ({text})"
            return f"a database cannot be used ({text})"
        error = error.__cause__ or error.__context__
    return None
