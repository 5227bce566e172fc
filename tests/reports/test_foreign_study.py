"""The report of somebody else's study reads and writes nothing outside the study's folder, whatever it holds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from evaluation.errors import UserError
from reports.document import write_documents
from reports.files import inside, replace_file
from reports.record import State, StudyRecord
from reports.record_file import read_record, write_record
from sweeps.config.schema import SweepConfig
from sweeps.finish.study_settings import with_own_cache
from sweeps.inputs.file_facts import facts_of
from sweeps.storage.study_folder import read_folder

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = ("image_file", "label_file", "baseline_file", "choice_file")
NAMES = {
    "parent": "../outside/X", "deep parent": "overlays/../../outside/X", "absolute": "/etc/hostname",
    "backslash": "..\\outside\\X", "drive": "C:/X", "drive with backslash": "C:\\X", "NUL": "overlays/a\x00.png",
    "line feed": "overlays/a\n.png", "escape": "\x1b[2J.png", "empty": "", "here": ".", "dots": "..",
    "slash": "overlays/", "double slash": "//server/share", "too long": "a" * 300, "many parts": "a/" * 600 + "a",
    "surrogate": "a\ud800.png",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study"


@pytest.fixture
def outside(tmp_path: Path, record: StudyRecord) -> Path:
    """A folder next to the study, with files that nobody may touch."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret.txt").write_text("secret")
    Image.new("RGB", (8, 8)).save(made / "secret.png")
    return made


@pytest.fixture
def record(study, tmp_path: Path, folder: Path) -> StudyRecord:
    made = study(*[State.COMPLETE] * 3)
    written = list(tmp_path.iterdir())
    folder.mkdir()
    for path in written:
        path.rename(folder / path.name)
    return made


def snapshot(outside: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in outside.iterdir()}


def change(folder: Path, edit: Callable[[dict], None]) -> None:
    tree = json.loads((folder / "record.json").read_text())
    edit(tree)
    (folder / "record.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_that_leads_out_is_refused_before_anything_is_written(
    record: StudyRecord, folder: Path, outside: Path, kind: str
) -> None:
    before = snapshot(outside)
    for edit in (
        *(lambda tree, name=name: tree["overlays"][0].update({name: NAMES[kind]}) for name in ROWS),
        lambda tree: tree["trials"][0].update(plan_file=NAMES[kind]),
    ):
        write_record(record, folder)
        change(folder, edit)
        with pytest.raises(UserError) as refused:
            read_record(folder)
        assert str(refused.value).isprintable()
    assert snapshot(outside) == before
    assert not (folder / "report.pdf").exists()


def test_the_command_refuses_in_one_line(record: StudyRecord, folder: Path, outside: Path) -> None:
    change(folder, lambda tree: tree["overlays"][1].update(label_file="../outside/X"))
    done = subprocess.run(
        [sys.executable, "-m", "reports", str(folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "overlays[1].label_file: must be relative to the study's folder" in done.stderr
    assert not (outside / "X").exists()


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "a folder": lambda folder, outside: _link(folder / "overlays", outside),
    "a folder of plans": lambda folder, outside: _link(folder / "plans", outside),
    "an image": lambda folder, outside: _link(next((folder / "overlays").iterdir()), outside / "secret.png"),
    "a plan": lambda folder, outside: _link(folder / "plans" / "trial-000.json", outside / "secret.txt"),
    "the record": lambda folder, outside: _link(folder / "record.json", outside / "secret.txt"),
    "links in a circle": lambda folder, outside: _link(folder / "plans" / "trial-000.json", Path("trial-000.json")),
}


def _link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name} before"))
    else:
        path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_that_leads_out_is_refused(record: StudyRecord, folder: Path, outside: Path, kind: str) -> None:
    before = snapshot(outside)
    LINKS[kind](folder, outside)
    with pytest.raises(UserError, match="link"):
        write_documents(read_record(folder), folder)
    assert snapshot(outside) == before


def test_reports_replace_links_and_do_not_write_through_them(record: StudyRecord, folder: Path, outside: Path) -> None:
    for name in ("report.pdf", "front.html", "report.part", "front.part"):
        (folder / name).symlink_to(outside / "secret.txt")
    before = snapshot(outside)
    write_documents(record, folder)
    assert snapshot(outside) == before
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert not any((folder / name).is_symlink() for name in ("report.pdf", "front.html"))
    (folder / "record.json").unlink()
    (folder / "record.json").symlink_to(outside / "secret.txt")
    write_record(record, folder)
    assert snapshot(outside) == before
    assert read_record(folder) == record


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("overlays/scene_0000_label.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG image"),
        ("overlays/scene_0000_label.png", b"\x89PNG\r\n\x1a\n", "no PNG image"),
        ("plans/trial-000.json", b"{}", "damaged plan"),
        ("plans/trial-000.json", b"\xff", "damaged plan"),
    ],
)
def test_a_damaged_file_of_the_study_is_one_line(
    record: StudyRecord, folder: Path, file: str, content: bytes, words: str
) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=words) as refused:
        write_documents(record, folder)
    assert str(refused.value).isprintable()
    assert "remove it" in str(refused.value)


def test_what_is_no_regular_file_is_not_read(record: StudyRecord, folder: Path) -> None:
    """A pipe would never end."""
    (folder / "record.json").unlink()
    os.mkfifo(folder / "record.json")
    with pytest.raises(UserError, match="no study here"):
        read_record(folder)


def test_texts_of_a_record_are_typeset_whatever_they_hold(record: StudyRecord, folder: Path) -> None:
    def edit(tree: dict) -> None:
        strange = 'a$\\frac{x$ \x00\x1b[31m\x85 <script>alert(1)</script> & #eval("1") \u202e -- ]]> \ufffe'
        tree["study"] = tree["chosen_reason"] = tree["data"]["name"] = strange
        tree["data"]["class_names"][0] = tree["environment"]["machine"] = strange
        for trial in tree["trials"]:
            trial["name"] = trial["reason"] = strange

    change(folder, edit)
    report, page = write_documents(read_record(folder), folder)
    assert report.read_bytes().startswith(b"%PDF")
    assert "<script>alert" not in page.read_text()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"before")
    replace_file(tmp_path / "kept", b"after")
    assert (tmp_path / "kept").read_bytes() == b"after"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "kept"]


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    (tmp_path / "here").symlink_to("there")
    assert inside(tmp_path, "here") == tmp_path.resolve() / "there"


STUDY = {
    "id": "0" * 32, "started": "2026-11-23T00:00:00+00:00", "seconds": 1.0, "changes": [], "config": {"seed": 3},
    "launch": {"trials": 3, "workers": 1, "process": 7, "machine": "a", "storage": None},
}  # fmt: skip


@pytest.mark.parametrize("key", [*STUDY, "launch.trials", "launch.process", "launch.machine", "launch.storage"])
@pytest.mark.parametrize("value", [None, "x", -1, 10**30, float("nan"), [1], {"a": 1}, "sqlite:///x", True])
def test_an_edited_study_file_is_read_or_refused_in_one_line(tmp_path: Path, key: str, value: object) -> None:
    tree = json.loads(json.dumps(STUDY))
    *parents, last = key.split(".")
    holder = tree[parents[0]] if parents else tree
    holder[last] = value
    (tmp_path / "study.json").write_text(json.dumps(tree))
    error = None
    try:
        read_folder(tmp_path)
    except UserError as refused:
        error = str(refused)
    is_text = isinstance(value, str)
    fits = (is_text and key in ("id", "started", "launch.machine")) or (key == "config" and value == {"a": 1})
    assert (error is None) == (fits or (value is None and key == "launch.storage"))
    assert error is None or (error.isprintable() and "study.json: damaged (" in error)


def config_of(**sections: object) -> SweepConfig:
    return SweepConfig.model_validate_json(json.dumps({"study": "s", "data": {"name": "streets"}, **sections}))


@pytest.mark.parametrize("place", ["s3://bucket/cache", "{outside}", "/nowhere"])
def test_an_export_writes_to_no_cache_that_a_record_names(tmp_path: Path, outside: Path, place: str) -> None:
    """Entries that are not used for long are removed from a cache, and any other file of an hour's age with them."""
    config = config_of(cache={"place": place.format(outside=outside)})
    scratch = tmp_path / "scratch"
    assert with_own_cache(config, tmp_path / "studies" / "s", scratch).cache_place == str(scratch / ".cache")


def test_an_export_begins_no_cache_next_to_a_study(tmp_path: Path, outside: Path) -> None:
    study, scratch = tmp_path / "theirs" / "s", tmp_path / "scratch"
    study.mkdir(parents=True)
    for _ in range(2):
        mine = with_own_cache(config_of(out="/elsewhere"), study, scratch)
        assert mine.cache_place == str(scratch / ".cache")
        facts_of(mine).save_passed({"x": b""})
        assert [path.name for path in study.parent.iterdir() if not path.is_symlink()] == ["s"]
        (study.parent / ".cache").unlink(missing_ok=True)
        (study.parent / ".cache").symlink_to(outside)  # and follows no link to another folder


def test_an_export_uses_the_cache_next_to_its_study_or_one_that_is_nothing_else(tmp_path: Path) -> None:
    plain = config_of(out="/elsewhere")
    (tmp_path / ".cache").mkdir()
    assert with_own_cache(plain, tmp_path / "s", tmp_path).cache_place == str(tmp_path / ".cache")
    (tmp_path / "cache" / "prune").mkdir(parents=True)
    (tmp_path / "cache" / "prune" / "0123.bin").write_bytes(b"")
    shared = config_of(cache={"place": str(tmp_path / "cache")})
    assert with_own_cache(shared, tmp_path / "s", tmp_path / "x").cache_place == str(tmp_path / "cache")
