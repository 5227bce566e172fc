"""Workers that crash, hang or raise cost their request and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import faulty_handler
import pytest

from evaluation.errors import UserError
from sweeps.workers.process_pool import ProcessPool
from sweeps.workers.worker_pool import Failure, Limits
from tests.waiting import wait_until


def answers(supervisor: ProcessPool, count: int) -> dict:
    found = {}

    def all_are_there() -> bool:
        found.update({answer.key: answer.value for answer in supervisor.poll(0.2)})
        return len(found) >= count

    wait_until(all_are_there, 30, f"{count} requests are answered")
    return found


def supervise(tmp_path: Path, workers: int = 1, limit_s: float = 30, opener=faulty_handler.open_handler) -> ProcessPool:
    return ProcessPool(opener, workers, tmp_path / "log", Limits(limit_s))


def test_requests_are_answered_and_workers_stay_warm(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        for key in range(5):
            supervisor.submit(key, key)
        supervisor.submit("count", "count")
        found = answers(supervisor, 6)
    assert found == {key: 2 * key for key in range(5)} | {"count": 6}


def test_a_crash_costs_one_request_and_the_worker_is_replaced(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        for key, request in enumerate([1, "crash", 2]):
            supervisor.submit(key, request)
        found = answers(supervisor, 3)
    assert found[0] == 2
    assert found[2] == 4
    assert isinstance(found[1], Failure)
    assert "exit status 7" in found[1].reason


def test_a_worker_killed_from_outside_is_named_by_its_signal(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        supervisor.submit("pid", "pid")
        pid = answers(supervisor, 1)["pid"]
        supervisor.submit("hang", "hang")
        supervisor.poll(0.2)
        os.kill(pid, signal.SIGKILL)
        assert "signal 9" in answers(supervisor, 1)["hang"].reason
        supervisor.submit("next", 4)
        assert answers(supervisor, 1) == {"next": 8}


def test_a_hang_ends_at_the_limit(tmp_path: Path) -> None:
    with supervise(tmp_path, limit_s=1.0) as supervisor:
        supervisor.submit("hang", "hang")
        assert "longer than 1 s" in answers(supervisor, 1)["hang"].reason
        supervisor.submit("next", 1)
        assert answers(supervisor, 1) == {"next": 2}


def test_an_exception_is_one_line_and_a_traceback(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        supervisor.submit("raise", "raise")
        failure = answers(supervisor, 1)["raise"]
    assert failure.reason == "ValueError: no"
    assert "second line" in failure.traceback
    assert "second line" in (tmp_path / "log").read_text()


def test_a_users_mistake_ends_the_sweep_with_its_line(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        supervisor.submit("user", "user")
        with pytest.raises(UserError, match="the user's file"):
            answers(supervisor, 1)
    with (
        supervise(tmp_path, opener=faulty_handler.open_wrongly) as supervisor,
        pytest.raises(UserError, match="no such folder"),
    ):
        answers(supervisor, 1)


def test_workers_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    with supervise(tmp_path, opener=faulty_handler.open_never) as supervisor:
        supervisor.submit(0, 1)
        with pytest.raises(UserError, match="exit status 9"):
            answers(supervisor, 1)


def test_what_no_worker_has_begun_can_be_withdrawn(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        for key in range(3):
            supervisor.submit(key, key)
        assert supervisor.withdraw() == [1, 2]
        assert answers(supervisor, 1) == {0: 0}
        assert not supervisor.busy


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = {path!r}\n"
        "import faulty_handler; from pathlib import Path; from sweeps.workers.process_pool import ProcessPool\n"
        "from sweeps.workers.worker_pool import Limits\n"
        "if __name__ == '__main__':\n"
        "    s = ProcessPool(faulty_handler.open_handler, 1, Path({log!r}), Limits(60)); s.submit(0, 'pid')\n"
        "    while not (a := s.poll(0.1)): pass\n"
        "    print(a[0].value, flush=True); s.submit(1, 'hang'); s.poll(600)\n"
    ).format(path=[str(Path(__file__).parent), str(Path(__file__).parents[2])], log=str(tmp_path / "log"))
    script = tmp_path / "parent.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not _alive(worker), 10, "the worker of the killed process has ended")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_needs_too_much_memory_is_ended(tmp_path: Path) -> None:
    with ProcessPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(30, memory_bytes=250e6)) as supervisor:
        for key, request in enumerate([1, "grow", 2]):
            supervisor.submit(key, request)
        found = answers(supervisor, 3)
    assert found[1].reason == "its worker needed more than 250 MB of memory"
    assert (found[0], found[2]) == (2, 4)


def test_a_worker_is_replaced_after_so_many_answers(tmp_path: Path) -> None:
    with ProcessPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(30, requests_each=3)) as supervisor:
        for key in range(7):
            supervisor.submit(key, "pid")
        pids = answers(supervisor, 7)
    assert [pids[key] == pids[key + 1] for key in range(6)] == [True, True, False, True, True, False]


def test_a_full_disk_is_no_fault_of_the_request(tmp_path: Path) -> None:
    with supervise(tmp_path) as supervisor:
        supervisor.submit("a", "full")
        with pytest.raises(UserError, match="space on the disk"):
            answers(supervisor, 1)


def test_a_request_is_tried_again_where_its_worker_died(tmp_path: Path) -> None:
    mark = tmp_path / "tried"
    with ProcessPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(30, retries=1)) as supervisor:
        for key, request in enumerate([f"crash once {mark}", "crash", "raise", 4]):
            supervisor.submit(key, request)
        found = answers(supervisor, 4)
    assert found[0] == "survived"
    assert found[1].reason == "its worker ended (exit status 7, 2 times)"
    assert "ValueError" in found[2].reason
    assert found[3] == 8
