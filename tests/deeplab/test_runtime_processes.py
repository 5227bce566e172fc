"""What is counted of a process, and the benchmark command's refusals."""

import subprocess

import pytest

from benchmarks.c_program.__main__ import main
from deeplab.runtime.compilers import compiler
from deeplab.runtime.processes import Launcher
from evaluation.errors import UserError

MEGABYTE = 1 << 20
TOUCHES = """
#include <string.h>
static char used[3 << 20], unused[5 << 20];
static const char constants[2 << 20] = {1};
int main(int count, char **arguments)
{
    int sum = 0;
    memset(used, count, sizeof used);
    for (unsigned at = 0; at < sizeof constants; at += 4096)
        sum += constants[at];
    return arguments[1][0] == 'f' ? 7 : sum + used[4096] + unused[0] == 0;
}
"""


@pytest.fixture(scope="module")
def launcher(tmp_path_factory) -> Launcher:
    try:
        return Launcher(tmp_path_factory.mktemp("launcher"))
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("program")
    (folder / "touches.c").write_text(TOUCHES)
    command = [compiler(), "-O1", "-static", "-o", str(folder / "touches"), str(folder / "touches.c")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a static libc")
    return str(folder / "touches")


def test_pages_count_when_they_are_touched_and_by_their_kind(launcher, program):
    found = launcher.resident([program, "ok"])
    assert 3 * MEGABYTE <= found.variables_bytes < 3.2 * MEGABYTE
    assert 2 * MEGABYTE <= found.constants_bytes < 2.5 * MEGABYTE
    assert 0 < found.code_bytes < MEGABYTE
    assert 0 < found.stack_bytes < MEGABYTE
    assert found.total_bytes < 7 * MEGABYTE


def test_a_program_that_fails_is_not_measured(launcher, program):
    with pytest.raises(UserError, match="ended with 7"):
        launcher.resident([program, "fail"])
    with pytest.raises(UserError, match="ended with 127"):
        launcher.resident([program + "-not-there"])


def test_the_benchmark_names_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path)])
    assert stopped.value.code == 2
    assert "deeplabv3_mnv2_ade20k_int8.tflite: not there" in capsys.readouterr().err
