"""Secrets in addresses: found where they are, never shown, and nothing else mistaken for one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from evaluation.addresses import forget, masked, masked_address, remember, secret_in
from evaluation.errors import UserError

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
    "postgresql://u:S3'SECRET@127.0.0.1:1/db",
    'postgresql://u:S3"SECRET@127.0.0.1:1/db',
    "postgresql://u:12/SECRET@127.0.0.1:1/db",
    "postgresql://u:S3)SECRET@h/d",
    "postgresql://u'x:SECRET@h/d",
    "postgresql://user@server:SECRET@h/d",
    "http://u:S3'SECRET@127.0.0.1:1",
    "postgresql://u@h/d?password=ab,SECRET",
    "https://h/p?jwt=SECRET",
    "https://h/p?pw=SECRET",
    "https://h/p?bearer=SECRET",
    "//u:SECRET@h/db",
    "u:SECRET@h:5432/db",
    "host=h password = SECRET",
    "host=h password=ab,SECRET dbname=d",
]
WITH_BLANKS = [
    "postgresql://u:S3 SECRET@127.0.0.1:1/db",
    "mysql+pymysql://u:S3 SECRET@h/d",
    "host=h password='S3 SECRET' dbname=d",
    "postgresql://u@h/d?password=S3 SECRET",
    "https://SE CRET@h/d",
]
"""Where such a secret ends inside a text is not seen unless it is known."""
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
    assert "CRET" not in masked_address(address)
    assert secret_in(masked_address(address)) is None


@pytest.mark.parametrize("address", WITH_BLANKS)
def test_a_secret_with_a_blank_is_found_in_an_address_and_then_known_in_any_text(address: str) -> None:
    assert secret_in(address)
    assert "CRET" not in masked_address(address)
    remember(address)
    assert "CRET" not in masked(f"cannot reach '{address}': refused")


@pytest.mark.parametrize("address", WITHOUT)
def test_what_holds_no_secret_is_left_as_it_is(address: str) -> None:
    assert secret_in(address) is None
    assert masked(address) == address
    assert masked_address(address) == address


def test_a_message_that_names_two_addresses_keeps_both() -> None:
    said = "postgresql://u@h:port/d is no address; write postgresql://USER@HOST/DATABASE, or http://h:5000 to me@x"
    assert masked(said) == said


@pytest.fixture(autouse=True)
def forgets() -> Iterator[None]:
    """What one test made known, the next does not know."""
    yield
    forget()


_ANY = st.text(min_size=4, max_size=24).filter(lambda text: text.strip("*") and text == text.strip())
_SCHEME = st.sampled_from(["postgresql://", "http://", "s3://", "redis://", "mysql+pymysql://", "//"])


@given(scheme=_SCHEME, password=_ANY)
@example("postgresql://", "12/S3CRETX")
@example("postgresql://", "None")
@example("postgresql://", "S3'CRETX@h:1/db?a=b&c#d e")
def test_no_password_of_any_characters_is_shown_in_an_address(scheme: str, password: str) -> None:
    address = f"{scheme}u:{password}@h/d"
    assert secret_in(address) == "a password"
    assert masked_address(address) == f"{scheme}u:***@h/d"


@given(name=st.sampled_from(["password", "jwt", "pw", "bearer", "sslpassword"]), password=_ANY)
def test_no_parameter_of_any_characters_is_shown_in_an_address(name: str, password: str) -> None:
    assume("&" not in password and password not in ("None", "null"))
    assume("@" not in password)  # an address that has a colon and an @ is read as one with a user
    shown = masked_address(f"postgresql://u@h/d?{name}={password}&sslmode=require")
    assert shown == f"postgresql://u@h/d?{name}=***&sslmode=require"


_TEXTS = (
    "E: {0} failed", "{1!r}", "File 'x', line 1\n  {0}\nno host {2}", "password {1}, encoded {3}", "'{0}': '{1}'",
)  # fmt: skip


@given(scheme=_SCHEME, password=_ANY, text=st.sampled_from(_TEXTS))
def test_a_secret_in_use_is_shown_nowhere(scheme: str, password: str, text: str) -> None:
    assume(password not in ("None", "null"))  # replaced where an address has it, and not in every sentence
    address = f"{scheme}u:{password}@h/d"
    whole = text.format(address, password, password.rpartition("/")[2], quote(password, safe=""))
    assume(password not in text.format(*["***"] * 4) and password not in f"{scheme}u:***@h/d")
    assume(quote(password, safe="") not in text.format(*["***"] * 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address) if "\0" not in address and _fits(address) else remember(address)
        for shown in (masked(whole), str(UserError(whole))):
            assert password not in shown
            assert quote(password, safe="") not in shown
    forget()


def _fits(text: str) -> bool:
    """Whether the environment can hold it."""
    try:
        return bool(os.fsencode(text))
    except UnicodeEncodeError:
        return False


def test_what_a_library_makes_of_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:12/S3CRETX@127.0.0.1:1")
    assert "S3CRETX" not in masked("host='u', port=12: Max retries exceeded with url: /S3CRETX@127.0.0.1:1/api")
    monkeypatch.setenv("PGPASSWORD", "pg-S3CRETY")
    assert masked("pg-S3CRETY was refused") == "*** was refused"


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
