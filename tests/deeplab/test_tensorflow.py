"""TensorFlow is imported without a word."""

import subprocess
import sys

import pytest


def test_importing_it_writes_nothing():
    program = "import os; import deeplab.tensorflow; os.write(2, b'after')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == (b"", b"after")


@pytest.mark.slow
def test_it_is_imported_with_standard_error_closed():
    program = "import os; os.close(2); import deeplab.tensorflow; print(deeplab.tensorflow.tf.__name__)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout == b"tensorflow\n"
