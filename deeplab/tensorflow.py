"""TensorFlow as this project uses it: Keras 2 (tfmot knows no other), quiet, imported in one place."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from deeplab.requirements import require_tensorflow

_NOTICE = re.compile(rb"(I\d{4} |WARNING: All log messages before absl::InitializeLog)")


@contextmanager
def without_notices(notices: re.Pattern[bytes]) -> Iterator[None]:
    """Drop lines that TensorFlow writes to file descriptor 2 meanwhile. Every other line is passed on.

    TensorFlow 2.21 tells of its build there while it is imported, and its converter of errors that it raises too,
    whatever `TF_CPP_MIN_LOG_LEVEL` says; but for 0, with which all lines are passed on.

    Args:
        notices: matches the beginning of a line to drop.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        stderr = None
    if stderr is None or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            written.seek(0)
            for line in written:
                if not notices.match(line):
                    os.write(stderr, line)
            os.close(stderr)


os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # before the first import of tensorflow
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow takes oneDNN's kernels by itself on some processors only; a training step is 1.5 times as fast with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

require_tensorflow()
with without_notices(_NOTICE):
    import tensorflow as tf
    import tf_keras as keras

__all__ = ["keras", "tf", "without_notices"]
