"""Addresses of databases, servers and stores: whether one holds a secret, and how it is shown without it.

An address in a configuration file is copied into the study, the report and MLflow, so no secret may be in
one (`secret_in`). Addresses from the environment may hold secrets; every text that a person or a file gets to see
passes through `masked_address` where it is one address, and else through `masked`.

Where a text is one address, its end is known, and a secret may hold any character. Inside a message it is not: there
the secrets of the addresses in use are replaced wherever they occur, and text that looks like another address is masked
by its form.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
_SECRET_WORDS = (
    "passw", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "accesskey", "accountkey", "sharedkey",
    "privatekey", "clientkey", "serverkey", "credential", "signature", "authorization", "connectionstring", "jwt",
    "bearer", "cookie",
)  # fmt: skip
_SECRET_NAMES = ("pass", "pw", "key", "sig", "sas", "auth", "psk", "pin", "otp", "creds")
"""Parts of the names of query parameters that hold secrets; elsewhere `key=value` is just a word."""
_USER_ONLY_IS_A_SECRET = ("http", "https", "git+https", "git+http")
"""Schemes where the text before the `@` is a token if it has no colon; elsewhere it is a user or a container."""
_EMPTY = ("", MASK)
_NOTHING = (*_EMPTY, "None", "null")
"""Texts of a parameter that has no value."""
_SECRET_VARIABLE = re.compile(r"(PASSWORD|PASSWD|_PWD|SECRET|_TOKEN|(ACCESS|API|ACCOUNT|STORAGE)_KEY)$", re.IGNORECASE)
_ADDRESS_VARIABLE = re.compile(r"(_URI|_URL|_DSN)$", re.IGNORECASE)
_ADDRESS_BEGINS = re.compile(r"[a-z][a-z0-9+.\-:]*://", re.IGNORECASE)
_SHORT = 4
"""A shorter secret, and the word None, is replaced only where addresses have one: many texts hold its letters."""
_PIECE = 5
"""Characters of a piece of a secret that is replaced by itself: a library that reads an address in another way may cut
a password at its `/` or `@`, and name the rest as a path or a host."""

# One address. The user ends at the first colon, the password at the last @: it may hold anything, as SQLAlchemy has it.
_WHOLE_USER_PASSWORD = re.compile(
    r"(?P<before>(?:[a-z][a-z0-9+.\-]*:|^)//[^:/]*?|^(?!//)[^:/]+?)(?P<colon>:|%3a)(?P<password>(?<=//:).*"
    r"|(?!//).*)@",
    re.IGNORECASE | re.DOTALL,
)
_WHOLE_USER_ONLY = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?P<user>[^/@:?#]+)@", re.IGNORECASE)
_WHOLE_QUERY = re.compile(r"(?P<before>[?&;#])(?P<name>[\w%.\-]{2,60})(?P<equals>\s*=)(?P<value>[^&]*)")
_WHOLE_KEYWORD = re.compile(r"(?P<before>^|\s)(?P<name>[\w%.\-]{2,60})(?P<equals>\s*=\s*)(?P<value>\S.*)", re.DOTALL)
"""A keyword of libpq. Its value ends where its quotes or words do; up to the end is never too little."""

# An address inside a text: up to the last @ before a blank; or, where no port follows the colon, on its line.
_USER_PASSWORD = re.compile(
    r"(?P<before>(?:[a-z][a-z0-9+.\-]*:|(?<![\w/.:]))//[^\s/:]*?)(?P<colon>:|%3a)(?P<password>\S*"
    r"|(?!\d{1,5}(?:[^\w%]|$))[^\s/](?:(?!://)[^\n])*?)@",
    re.IGNORECASE,
)
# user:password@host:port or user:password@host/path
_BARE_USER_PASSWORD = re.compile(
    r"(?P<before>(?<![\w/.:@+\-])[\w.+\-]+)(?P<colon>:)(?P<password>[^\s/@]\S*?)@(?=[\w.\-]+(?::\d|/))"
)
_USER_ONLY = re.compile(r"""(?P<scheme>[a-z][a-z0-9+.\-]*)://(?P<user>[^\s/@:'"?#]+)@""", re.IGNORECASE)
# name=value after ?, &, ;, # or a space, or alone at the start: a query, or the key words that libpq takes
_PARAMETER = re.compile(
    r"""(?P<before>^|[?&;#\s,('"{])(?P<name>[\w%.\-]{2,60})(?P<equals>[ \t]{0,3}=[ \t]{0,3})"""
    r"""(?P<value>'[^']*'[^\s&]*|"[^"]*"[^\s&]*|[^\s&]+)"""
)


def is_secret_name(name: str) -> bool:
    """Whether a parameter or key of this name holds a secret, such as `password` or `X-Amz-Signature`."""
    plain = re.sub(r"[^a-z0-9]", "", unquote(name).lower())
    return plain in _SECRET_NAMES or any(word in plain for word in _SECRET_WORDS)


def secret_in(address: str) -> str | None:
    """The kind of secret an address holds, in words that do not repeat it ("a password"); None where it holds none."""
    return next((what for what, _ in _secrets(address)), None)


def remember(address: str) -> None:
    """Make `masked` replace the secrets of this address wherever they occur from now on."""
    _remembered.update(secret for _, secret in _secrets(address))


def forget() -> None:
    """Make `masked` forget the secrets that `remember` was given; those in the environment it always knows."""
    _remembered.clear()


_remembered: set[str] = set()


def masked_address(address: str) -> str:
    """An address, and nothing else, with its secrets replaced by `***`.

    User names, hosts and paths stay: they say which address is meant.
    """
    address = _WHOLE_USER_PASSWORD.sub(_without_password, address, count=1)
    address = _WHOLE_USER_ONLY.sub(_without_user, address)
    address = _WHOLE_QUERY.sub(_without_value, address)
    for match in _keywords(address):
        if _is_secret(match):
            address = f"{address[: match.start('value')]}{MASK}"
            break
    return masked(address)


def masked(text: str) -> str:
    """A text, with every secret in every address of it replaced by `***`."""
    text = _without_known(text)
    text = _USER_PASSWORD.sub(_without_password, text)
    text = _BARE_USER_PASSWORD.sub(_without_password, text)
    text = _USER_ONLY.sub(_without_user, text)
    return _PARAMETER.sub(_without_value, text)


def _secrets(address: str) -> Iterator[tuple[str, str]]:
    """(kind in words, secret) of every secret in an address."""
    match = _WHOLE_USER_PASSWORD.search(address)
    if match is not None and match["password"] not in _EMPTY:
        yield "a password", match["password"]
    for match in _WHOLE_USER_ONLY.finditer(address):
        if match["scheme"].lower() in _USER_ONLY_IS_A_SECRET and match["user"] not in _EMPTY:
            yield "a token", match["user"]
    for match in (*_WHOLE_QUERY.finditer(address), *_keywords(address)):
        if _is_secret(match):
            yield f"a secret ({unquote(match['name'])})", match["value"].strip().strip("'\"")


def _keywords(address: str) -> Iterator[re.Match[str]]:
    """Every keyword of an address, with all that follows it as its value."""
    start = 0
    while (match := _WHOLE_KEYWORD.search(address, start)) is not None:
        yield match
        start = match.start("value")


def _without_password(match: re.Match[str]) -> str:
    return f"{match['before']}{match['colon']}{MASK}@" if match["password"] else match[0]


def _without_user(match: re.Match[str]) -> str:
    return f"{match['scheme']}://{MASK}@" if match["scheme"].lower() in _USER_ONLY_IS_A_SECRET else match[0]


def _without_value(match: re.Match[str]) -> str:
    return f"{match['before']}{match['name']}{match['equals']}{MASK}" if _is_secret(match) else match[0]


def _is_secret(match: re.Match[str]) -> bool:
    value, name = match["value"], match["name"]
    if value.strip() in _NOTHING:
        return False
    is_query = match["before"] in tuple("?&;#")
    if is_secret_name(name) and (is_query or unquote(name).lower() not in _SECRET_NAMES):
        return True
    # A value of a query may itself be a list of parameters: odbc_connect=DRIVER%3D...%3BPWD%3D...
    names = re.findall(r"([A-Za-z_]+)\s*=\s*[^\s;&]", unquote(value)) if is_query else []
    return any(is_secret_name(name) for name in names)


def _without_known(text: str) -> str:
    """The text without the secrets of the addresses in use."""
    known = frozenset(_remembered) | _in_environment()
    pattern = _pattern(known) if known else None
    return text if pattern is None else pattern.sub(MASK, text)


def _in_environment() -> frozenset[str]:
    """Secrets of addresses in the environment, and of variables that hold a secret as PGPASSWORD does."""
    found = set()
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name) and len(value) > _PIECE:
            found.add(value)
        elif _ADDRESS_BEGINS.match(value) or _ADDRESS_VARIABLE.search(name):
            found |= {secret for _, secret in _secrets(value)}
    return frozenset(found)


@lru_cache(maxsize=16)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """A pattern that finds secrets as they are, decoded, encoded, quoted, and in pieces."""
    forms, short = set(), set()
    for secret in secrets:
        for plain in {secret, unquote(secret), unquote_plus(secret)}:
            written = {plain, quote(plain), quote(plain, safe=""), quote_plus(plain), " ".join(plain.split())}
            written |= {repr(plain)[1:-1], json.dumps(plain)[1:-1], plain.strip()}
            common = {form for form in written if len(form) < _SHORT or form in _NOTHING}
            forms |= written - common
            short |= common - {""}
            pieces = [piece for piece in re.split(r"[\s/?#@:&;,'\"\\]+", plain) if len(piece) >= _PIECE]
            forms |= {*pieces, *(piece.lower() for piece in pieces)}
    usable = sorted((form for form in forms if form.strip("*")), key=lambda form: (-len(form), form))
    parts = [re.escape(form) for form in usable]
    parts += [rf"(?<=[:=]){re.escape(form)}(?=[@&\s'\"]|$)" for form in sorted(short) if form.strip("*")]
    return re.compile("|".join(parts)) if parts else None


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
    """Mask the secrets of addresses in a traceback that ends this process."""
    if not isinstance(sys.excepthook, _MaskingHook):
        sys.excepthook = _MaskingHook(sys.excepthook)
