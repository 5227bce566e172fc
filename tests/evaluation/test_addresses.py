"""Secrets in addresses: found where they are, never shown, and nothing else mistaken for one."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.addresses import masked, secret_in

WITH_A_SECRET = [
    "postgresql://u:SECRET@h:5432/d",
    "postgresql+psycopg://u:SECRET@h/d",
    "postgresql://u%3ASECRET@h/d",
    "postgresql://u@h/d?password=SECRET",
    "postgresql://u@h/d?user=u&password=SECRET&sslmode=require",
    "postgresql://u@h/d?pass%77ord=SECRET",
    "postgresql://u@h/d?PASSWORD=SECRET",
    "postgresql://u@h/d?sslpassword=SECRET",
    "postgresql://u@h/d?scram_client_key=SECRET",
    "host=h user=u password=SECRET dbname=d",
    "host=h password='SECRET'",
    "redis://:SECRET@h:6379/0",
    "http://u:SECRET@h:5000",
    "https://u:SE@CRET@h",
    "https://SECRET@github.com/o/r",
    "https://h/path?token=SECRET",
    "https://h/path?a=1&X-Amz-Signature=SECRET",
    "https://account.blob.core.windows.net/c?sv=2&sig=SECRET",
    "s3://KEY:SECRET@bucket/cache",
    "s3://KEY:SEC/RE+T@bucket/cache",
    "simplecache::s3://KEY:SECRET@bucket/cache",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BPWD%3DSECRET",
    "mysql+pymysql://u:SECRET@h/d?charset=utf8",
    "ftp://u:SECRET@h",
    "sftp://u:SECRET@h/p",
]
WITHOUT = [
    "postgresql://me@127.0.0.1:5432/db",
    "postgresql://me@h/d?sslmode=require&application_name=x&sslkey=/home/me/k.pem&passfile=/home/me/.pgpass",
    "postgresql:///d?host=/var/run/postgresql",
    "postgresql://h:5432/d?user=me",
    "sqlite:///mlflow.db",
    "http://localhost:5000",
    "https://mlflow.example.org:8443/team",
    "s3://bucket/cache",
    "s3://bucket/a:b@c",
    "abfs://container@account.dfs.core.windows.net/cache",
    "sftp://me@host/cache",
    "gs://bucket/x",
    "memory://x",
    "10.0.0.1:6379",
    "auto",
    "studies/a=b",
    "expected key=value, e.g. -o search.trials=40",
    "/data/KITTI_2012:left@half",
    "",
]


@pytest.mark.parametrize("address", WITH_A_SECRET)
def test_a_secret_is_found_and_not_shown(address: str) -> None:
    found = secret_in(address)
    assert found
    assert "SECRET" not in found
    for text in (address, f"cannot reach '{address}': refused", f'File "x", line 1\n  E: {address}\nand more'):
        shown = masked(text)
        for part in ("SECRET", "SEC/RE+T", "SE@CRET", "CRET"):
            assert part not in shown
        assert masked(shown) == shown
    assert secret_in(masked(address)) is None or "***" in masked(address)


@pytest.mark.parametrize("address", WITHOUT)
def test_what_holds_no_secret_is_left_as_it_is(address: str) -> None:
    assert secret_in(address) is None
    assert masked(address) == address


_WORD = st.text("abcdefghijkXYZ0123456789_-.~!$*+%", min_size=4, max_size=24).filter(lambda t: "***" not in t)


@given(scheme=st.sampled_from(["postgresql", "http", "s3", "redis", "mysql+pymysql"]), user=_WORD, password=_WORD)
def test_no_part_of_a_password_is_shown(scheme: str, user: str, password: str) -> None:
    address = f"{scheme}://{user}:{password}@host.example/d"
    assert secret_in(address)
    assert password not in masked(f"E: {address} failed").replace(user, "")


@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    secret_in(text)
    assert masked(masked(text)) == masked(text)


def test_a_traceback_shows_no_secret() -> None:
    code = (
        "from evaluation.addresses import mask_tracebacks; mask_tracebacks();"
        "raise RuntimeError('no answer from http://u:SECRET@h:1/api')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "no answer from http://u:***@h:1/api" in ended.stderr
    assert "SECRET" not in ended.stderr
