"""Addresses of databases, servers and stores: whether one holds a secret, and how it is shown without it.

An address that stands in a configuration file is copied into the study, the report and MLflow, so no secret may be in
one (`secret_in`). Addresses from the environment may hold secrets; every text that a person or a file gets to see
passes through `masked`.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import unquote

MASK = "***"
_SECRET_WORDS = (
    "passw", "passphrase", "pwd", "secret", "token", "apikey", "accesskey", "accountkey", "sharedkey", "privatekey",
    "clientkey", "serverkey", "credential", "signature", "authorization", "connectionstring",
)  # fmt: skip
_SECRET_NAMES = ("pass", "key", "sig", "sas", "auth")
"""Of a query; elsewhere `key=value` is just a word."""
_USER_ONLY_IS_A_SECRET = ("http", "https", "git+https", "git+http")
"""Schemes where what precedes the `@` is a token if it has no colon; elsewhere it is a user or a container."""
# scheme://user:password@: up to the last @ before the first slash, or else, as the keys of some stores hold slashes
# themselves, up to the first @ at all. A port (digits and then a slash or the end) is no password.
_USER_PASSWORD = re.compile(
    r"""(?P<scheme>[a-z][a-z0-9+.\-]*)://(?P<user>[^\s/@:'"]*?)(?P<colon>:|%3a)(?P<password>"""
    r"""[^\s/?#'"]*(?=@)|(?!\d{1,5}(?:[/?#\s'"]|$))[^\s@'"]+(?=@))@""",
    re.IGNORECASE,
)
_USER_ONLY = re.compile(r"""(?P<scheme>[a-z][a-z0-9+.\-]*)://(?P<user>[^\s/@:'"?#]+)@""", re.IGNORECASE)
# name=value after ?, &, ;, # or a space, or alone at the start: a query, or the key words that libpq takes
_PARAMETER = re.compile(
    r"""(?P<before>^|[?&;#\s,('"{])(?P<name>[\w%.\-]{2,60})=(?P<value>'[^']*'|"[^"]*"|[^\s&;#'",)}]+)"""
)


def is_secret_name(name: str) -> bool:
    """Whether a parameter or key of this name holds a secret, such as `password` or `X-Amz-Signature`."""
    plain = re.sub(r"[^a-z0-9]", "", unquote(name).lower())
    return plain in _SECRET_NAMES or any(word in plain for word in _SECRET_WORDS)


def secret_in(address: str) -> str | None:
    """What secret an address holds, in words that do not repeat it ("a password"); None where it holds none."""
    for match in _USER_PASSWORD.finditer(address):
        if match["password"]:
            return "a password"
    for match in _USER_ONLY.finditer(address):
        if match["scheme"].lower() in _USER_ONLY_IS_A_SECRET:
            return "a token"
    for match in _PARAMETER.finditer(address):
        if _is_secret(match):
            return f"a secret ({unquote(match['name'])})"
    return None


def masked(text: str) -> str:
    """The text, with every secret in every address of it replaced by `***`.

    User names, hosts and paths stay: they say which address is meant.
    """
    text = _USER_PASSWORD.sub(lambda m: f"{m['scheme']}://{m['user']}{m['colon']}{MASK}@", text)
    text = _USER_ONLY.sub(
        lambda m: f"{m['scheme']}://{MASK}@" if m["scheme"].lower() in _USER_ONLY_IS_A_SECRET else m[0], text
    )
    return _PARAMETER.sub(lambda m: f"{m['before']}{m['name']}={MASK}" if _is_secret(m) else m[0], text)


def _is_secret(match: re.Match[str]) -> bool:
    if match["value"] in ("", MASK, "None", "null"):
        return False
    name = match["name"]
    if match["before"] not in tuple("?&;#") and unquote(name).lower() in _SECRET_NAMES:
        return False
    # A value may itself be a list of parameters: odbc_connect=DRIVER%3D...%3BPWD%3D...
    inner = unquote(match["value"])
    return is_secret_name(name) or any(
        is_secret_name(name) for name in re.findall(r"([A-Za-z_]+)\s*=\s*[^\s;&]", inner)
    )


@dataclass(frozen=True)
class _MaskingHook:
    """`sys.excepthook` that shows a traceback with its secrets masked, and leaves any other to the hook before it."""

    former: Callable[[type[BaseException], BaseException, TracebackType | None], object]

    def __call__(self, kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, frames))
        if masked(text) == text:
            self.former(kind, error, frames)
        else:
            print(masked(text), file=sys.stderr, end="")


def mask_tracebacks() -> None:
    """From now on a traceback that ends this process shows no secret of an address."""
    if not isinstance(sys.excepthook, _MaskingHook):
        sys.excepthook = _MaskingHook(sys.excepthook)
