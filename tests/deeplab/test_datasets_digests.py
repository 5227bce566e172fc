"""A file is hashed again exactly where its content may have changed."""

import hashlib
import os
from pathlib import Path

import pytest

from deeplab.datasets.digests import Known, file_digest, file_state, known_digests, learn_digests
from evaluation.errors import UserError

OTHER = b"x" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(b"one")
    return path


def test_a_digest_is_of_the_content(file: Path) -> None:
    assert file_digest(file) == hashlib.sha256(b"one").digest()


def test_what_is_known_of_a_file_in_its_state_is_not_hashed_again(file: Path) -> None:
    learn_digests({str(file): Known(file_state(file), OTHER)})
    assert file_digest(file) == OTHER


def test_equal_size_and_a_restored_time_hide_no_change(file: Path) -> None:
    before = file.stat()
    learn_digests({str(file): Known(file_state(file), OTHER)})
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert file_digest(file) == hashlib.sha256(b"two").digest()


def test_a_file_of_the_same_name_and_times_is_another_one(file: Path) -> None:
    """`mv` keeps size and times; the inode tells."""
    learn_digests({str(file): Known(file_state(file), OTHER)})
    replacement = file.with_name("new")
    replacement.write_bytes(b"two")
    os.utime(replacement, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    os.replace(replacement, file)
    assert file_digest(file) == hashlib.sha256(b"two").digest()


def test_a_digest_of_a_file_that_was_just_written_is_not_kept(file: Path) -> None:
    """A second write could have the same time stamp."""
    file_digest(file)
    assert known_digests([file]) == {}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: is no file but a folder, a pipe or a device"):
        file_digest(tmp_path / "pipe.png")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        file_digest(tmp_path / "gone.png")
