"""Ends that nobody planned: a closed pipe, a closed terminal, a full disk behind the output, a removed folder."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from standin_sweeps import (
    SCRIPT,
    Config,
    assert_nothing_is_running,
    mlflow_runs,
    start,
    wait_for_trials,
)

from reports.record import State
from reports.record_file import read_record
from tests.waiting import wait_until

ROOT = SCRIPT.parents[2]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")


def in_a_shell(folder: Path, command: str) -> subprocess.CompletedProcess:
    """Of bash, where $SWEEP is a sweep of 20 trials."""
    sweep = f"{sys.executable} {SCRIPT} {folder / 'config.yaml'} search.trials=20"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "SWEEP": sweep, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable},
    )  # fmt: skip


def ended_in_order(config: Config, fewer_than: int = 20) -> None:
    record = read_record(config().folder)
    assert len(record.trials) < fewer_than
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    assert_nothing_is_running(config())


def test_a_reader_that_goes_away_ends_the_study_as_a_signal_does(config: Config, tmp_path: Path) -> None:
    ended = in_a_shell(tmp_path, "$SWEEP | head -1; echo ${PIPESTATUS[0]}")
    assert ended.stdout.splitlines()[-1] == "0"
    assert ended.stderr.count("the output cannot be written (Broken pipe)") == 1
    assert "Traceback" not in ended.stderr
    ended_in_order(config)


def test_a_full_disk_behind_the_output_ends_the_study_too(config: Config, tmp_path: Path) -> None:
    ended = in_a_shell(tmp_path, "$SWEEP > /dev/full; echo $?")
    assert ended.stdout == "0\n"
    assert ended.stderr.count("the output cannot be written (No space left on device)") == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    ended_in_order(config)


def test_an_output_that_was_closed_from_the_start_disturbs_nothing(config: Config, tmp_path: Path) -> None:
    ended = in_a_shell(tmp_path, "$SWEEP search.trials=3 >&- 2>&- <&-; echo $?")
    assert (ended.stdout, ended.stderr) == ("0\n", "")
    assert len(read_record(config().folder).trials) == 3


@pytest.mark.parametrize(
    "encoding",
    [
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
        pytest.param("PYTHONIOENCODING=latin-1", marks=pytest.mark.slow),
    ],
)
def test_a_study_runs_on_a_terminal_of_any_encoding(config: Config, tmp_path: Path, encoding: str) -> None:
    ended = in_a_shell(tmp_path, f"export {encoding}; $SWEEP search.trials=3; echo $?")
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == "0"
    assert len(read_record(config().folder).trials) == 3


@pytest.mark.parametrize(
    ("command", "status"),
    [("--keys | head -1", 141), ("--keys > /dev/full", 2), ("--keys >&-", 0), ("nothing.yaml 2> /dev/full", 2)],
)
def test_a_command_that_lists_something_ends_with_its_reader(
    config: Config, tmp_path: Path, command: str, status: int
) -> None:
    ended = in_a_shell(tmp_path, f"set -o pipefail; $PYTHON -m sweeps.launch {command}; echo $?")
    assert ended.stdout.splitlines()[-1] == f"{status}"
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_closed_terminal_ends_the_study_as_sigterm_does(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.5")
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        process = start(tmp_path, "search.trials=20")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    wait_for_trials(config().folder, 2)
    for worker in psutil.Process(process.pid).children():
        worker.send_signal(signal.SIGHUP)  # it reaches the whole group
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "stopped by a signal; continue with --resume" in output
    ended_in_order(config)


def test_nohup_stays_what_it_is(config: Config, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["nohup", sys.executable, str(SCRIPT), str(tmp_path / "config.yaml"), "search.trials=6"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for_trials(config().folder, 2)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(read_record(config().folder).trials) == 6


def is_removed(folder: Path) -> bool:
    """Remove the folder. One pass fails ("Directory not empty") if the study writes a file into it meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_a_folder_that_is_removed_in_mid_study_is_one_line(config: Config, tmp_path: Path) -> None:
    process = start(tmp_path, "search.trials=40", "search.workers=2")
    wait_for_trials(config().folder, 3)
    workers = psutil.Process(process.pid).children()
    wait_until(lambda: is_removed(config().folder), 60, "the folder is removed")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith(f"error: {config().folder}: the study's folder was removed or moved")
    assert not psutil.wait_procs(workers, timeout=30)[1]
    assert {run.info.status for run in mlflow_runs() if run.info.run_name == "stand-in"} == {"FAILED"}
    assert "RUNNING" not in {run.info.status for run in mlflow_runs()}


def test_ctrl_c_while_the_workers_start_is_no_traceback_of_theirs(config: Config, tmp_path: Path) -> None:
    process = start(tmp_path, "search.trials=20", "search.workers=2", start_new_session=True)

    def workers_start() -> bool:
        assert process.poll() is None
        with suppress(psutil.Error):  # of a child that has ended between the two questions
            return any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children())
        return False

    wait_until(workers_start, 120, "a worker starts")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "stopped by a signal; continue with --resume" in output


def test_a_second_signal_is_one_line(config: Config, tmp_path: Path) -> None:
    process = start(tmp_path, "search.trials=20", "search.trial_seconds=60")
    wait_for_trials(config().folder, 2)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert output.splitlines()[-1] == "error: stopped at once; what had finished is kept: continue with --resume"
    assert "Traceback" not in output
    assert "RUNNING" not in {run.info.status for run in mlflow_runs()}


SIGNALS_INSIDE_LIBRARIES = """
import logging, os, signal, sys
from evaluation.errors import exits_on_user_error
from sweeps.workers.signals import Stop

def press():
    os.kill(os.getpid(), signal.SIGINT)

def fetch():  # as SQLAlchemy does with a cursor that it cannot close
    try:
        press()
    except BaseException:
        logging.getLogger("sqlalchemy.pool").error("Error closing cursor", exc_info=True)
        raise

class Finalized:  # what a finalizer raises is printed, and lost
    def __del__(self):
        press()

@exits_on_user_error
def main():
    stop = Stop()
    with stop.on_signals(lambda _: None):
        press()
        fetch() if sys.argv[1] == "log" else Finalized()
        stop.check()
    print("went on")

main()
"""


@pytest.mark.parametrize("where", ["log", "finalizer"])
def test_a_library_that_a_second_signal_interrupts_prints_no_traceback(where: str) -> None:
    command = [sys.executable, "-c", SIGNALS_INSIDE_LIBRARIES, where]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: stopped at once; what had finished is kept: continue with --resume\n"
