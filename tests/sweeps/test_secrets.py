"""No secret comes from a configuration into messages, files, or MLflow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from standin_sweeps import Config, pdf_text

from evaluation.errors import UserError
from reports.document import write_documents
from reports.record_file import read_record
from sweeps.config.load import load_config
from sweeps.config.schema import CacheConfig, StorageConfig
from sweeps.tracking.address import check_tracking, how_to_browse, tracking_uri
from sweeps.workers.worker_pool import respond

SECRET = "S3CR3T"
REFUSED = [
    ("storage.url", f"postgresql://u:{SECRET}@h/d", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u@h/d?password={SECRET}", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u@h/d?sslpassword={SECRET}", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"host=h user=u password={SECRET}", "PGPASSWORD or ~/.pgpass"),
    ("cache.place", f"s3://KEY:{SECRET}@bucket/cache", "~/.aws/credentials"),
    ("cache.place", f"https://h/c?token={SECRET}", "environment|MLFLOW|own configuration"),
    ("executor.address", f"ray://u:{SECRET}@h:10001", "~/.ray/auth_token"),
    ("network.source", f"https://u:{SECRET}@h/net.npz", "put it into"),
    ("data.path", f"s3://KEY:{SECRET}@bucket", "put it into"),
    ("data.options", f"{{token: {SECRET}}}", "put it into"),
    ("storage.password", SECRET, "put it into"),
    ("study", f"postgresql://u:{SECRET}@h/d", "put it into"),
    ("search.trials", f"postgresql://u:{SECRET}@h/d", "put it into"),
    ("space.weight_bits", f"[4, 'http://u:{SECRET}@h']", "put it into"),
    ("storage.url", f"postgresql://u:S3'{SECRET}@127.0.0.1:1/db", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u:S3 {SECRET}@127.0.0.1:1/db", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u:12/{SECRET}@127.0.0.1:1/db", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u'x:{SECRET}@127.0.0.1:1/db", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"postgresql://u@h/d?password=ab,{SECRET}", "PGPASSWORD or ~/.pgpass"),
    ("storage.url", f"//u:{SECRET}@h/db", "put it into"),
    ("cache.place", f"https://h/c?jwt={SECRET}", "put it into"),
]


@pytest.mark.parametrize(("key", "value", "place"), REFUSED)
def test_a_secret_is_refused_and_not_repeated(config: Config, tmp_path: Path, key: str, value: str, place: str) -> None:
    quoted = value if value[0] in "{[" else json.dumps(value)
    section, _, name = key.partition(".")
    (tmp_path / "file.yaml").write_text(
        f"study: s\n{section}: {{{name}: {quoted}}}\n" if name else f"{section}: {quoted}"
    )
    tries = (tmp_path / "config.yaml", [f"{key}={value}"]), (tmp_path / "file.yaml", [])
    for file, overrides in tries:
        with pytest.raises(UserError, match=place) as refused:
            load_config(file, overrides)
        message = str(refused.value)
        assert SECRET not in message
        assert "put it into" in message
        assert (f"-o {section}" if overrides else f"{file}:") in message
        assert len(message) < 400
        assert "\n" not in message


@pytest.mark.parametrize(
    "override", ["postgresql://u:S3CR3T@h/d", "seed.x=postgresql://u:S3CR3T@h/d", "a=[http://u:S3CR3T@h"]
)
def test_an_override_that_cannot_be_read_is_shown_without_its_secret(
    config: Config, tmp_path: Path, override: str
) -> None:
    with pytest.raises(UserError) as refused:
        load_config(tmp_path / "config.yaml", ["seed=3", override])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "make", [lambda text: StorageConfig(url=text), lambda text: CacheConfig(place=text)], ids=["storage", "cache"]
)
def test_models_made_in_python_refuse_it_too(make) -> None:
    with pytest.raises(ValidationError, match="holds a password") as refused:
        make(f"postgresql://u:{SECRET}@h/d")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("ending", ["", "]", "\n  - x: ["])
def test_a_quoted_override_is_refused_without_its_secret(config: Config, tmp_path: Path, ending: str) -> None:
    assert config()
    with pytest.raises(UserError) as refused:
        load_config(tmp_path / "config.yaml", [f"storage.url='postgresql://u:S3''{SECRET}@127.0.0.1:1/db'{ending}"])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:S3'S3CR3T@127.0.0.1:1/db",
        "postgresql://u:S3 S3CR3T@127.0.0.1:1/db",
        "postgresql://u:12/S3CR3T@127.0.0.1:1/db",
        "postgresql://u'x:S3CR3T@127.0.0.1:1/db",
        "mysql+pymysql://u:S3 S3CR3T@127.0.0.1:1/db",
        "http://u:S3'S3CR3T@127.0.0.1:1",
        "http://u:12/S3CR3T@127.0.0.1:1",
        "http://127.0.0.1:1/?password=ab,S3CR3T",
        "http://127.0.0.1:1/?jwt=S3CR3T",
        "//u:S3CR3T@h/db",
        "u:S3CR3T@h:5432/db",
        "sqlite:////proc/x.db?password=a b,S3CR3T",
        "unknown://u:S3)S3CR3T@h",
    ],
)
def test_a_tracking_address_that_cannot_be_used_is_shown_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert SECRET not in how_to_browse(tracking_uri())
    with pytest.raises(UserError) as refused:
        check_tracking()
    assert SECRET not in str(refused.value)


def test_a_failed_trial_tells_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://u:S3 '{SECRET}@h")

    def fails(_request: object) -> None:
        raise RuntimeError(f"no answer from u with S3 '{SECRET}")

    _, failure = respond(fails, None)
    assert SECRET not in failure.reason + failure.traceback + "".join(capsys.readouterr())


def test_a_tracking_address_with_a_password_is_shown_nowhere(config: Config, tmp_path: Path) -> None:
    """SQLite takes a query in its address, so the whole study can be run with one."""
    assert config()
    (tmp_path / "studies").mkdir(exist_ok=True)
    script = Path(__file__).with_name("sweep_script.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "config.yaml"), "search.trials=2"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db?password={SECRET}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert SECRET not in ended.stdout + ended.stderr
    # A study of before, which still holds one: its report shows none.
    folder = config().folder
    record = json.loads((folder / "record.json").read_text())
    record["config"]["storage"]["url"] = f"postgresql://u:{SECRET}@h/d"
    shutil.copytree(folder, tmp_path / "old")
    (tmp_path / "old" / "record.json").write_text(json.dumps(record))
    write_documents(read_record(tmp_path / "old"), tmp_path / "old", "a4")
    assert "postgresql://u:***@h/d" in pdf_text(tmp_path / "old").replace(" ", "")
    assert SECRET not in (tmp_path / "old" / "front.html").read_text() + pdf_text(tmp_path / "old")
    for file in (tmp_path / "studies").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
