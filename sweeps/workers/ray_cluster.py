"""Joining a Ray cluster, or starting a private one.

Any client that reaches a Ray cluster can run code on it. A cluster started here listens on 127.0.0.1 only and requires
a token (https://docs.ray.io/en/latest/ray-security/token-auth.html); a running cluster gets the user's token if there
is one.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from types import ModuleType
from typing import Any

from evaluation.errors import UserError

INSTALL = "executor.kind: ray is not installed; add it with: pip install 'petitlab[cluster]' -c constraints.txt"
MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""With 0, Ray uses 127.0.0.1 as this machine's address on every system, and listens on it only. As `_node_ip_address`,
127.0.0.1 would be replaced by the network address (`ray._private.services`, Ray 2.60)."""
ANSWER_S = 10.0


class Cluster:
    """A connection to Ray. `close` restores the environment variables.

    Args:
        address: "auto", HOST:PORT or ray://HOST:PORT of a running cluster; None: one is started here.
        runtime_env: runtime environment of its workers.

    Raises:
        UserError: Ray is not installed, nothing answers at the address, or it refuses this user.
    """

    def __init__(self, address: str | None, runtime_env: dict[str, Any]) -> None:
        self._former = {name: os.environ.get(name) for name in (MODE, TOKEN, LOOPBACK_ONLY)}
        try:
            self.ray = self._start(runtime_env) if address is None else self._join(address, runtime_env)
        except BaseException:
            self._restore()
            raise

    def close(self) -> None:
        self.ray.shutdown()
        self._restore()

    def _restore(self) -> None:
        for name, value in self._former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if sys.modules.get("ray") is not None:
            _read_environment(sys.modules["ray"])

    def _start(self, runtime_env: dict[str, Any]) -> ModuleType:
        os.environ[LOOPBACK_ONLY] = "0"
        os.environ.setdefault(MODE, "token")
        ray = _imported()
        if os.environ[MODE] == "token" and not _has_token(ray):
            # Not `ray get-auth-token --generate`: every later `ray start` would require that token too.
            os.environ[TOKEN] = secrets.token_hex(32)
            _read_environment(ray)
        ray.init(address="local", runtime_env=runtime_env, include_dashboard=False, **_QUIET)
        return ray

    def _join(self, address: str, runtime_env: dict[str, Any]) -> ModuleType:
        where = address.removeprefix("ray://")
        host, _, port = where.rpartition(":")
        named = bool(host) and port.isdigit()
        if named:
            _check_port(address, host.strip("[]"), int(port))
        elif address != "auto":
            raise UserError(f"executor.address: {address!r} is no address; write auto, HOST:PORT or ray://HOST:PORT")
        ray = _imported()
        if MODE not in os.environ and _has_token(ray):
            os.environ[MODE] = "token"  # a cluster without authentication accepts it too
            _read_environment(ray)
        try:
            if named and where == address:
                _check_cluster(ray, address)
            ray.init(address=address, runtime_env=runtime_env, **_QUIET)
        except ray.exceptions.AuthenticationError:
            raise UserError(_refused(address, _has_token(ray))) from None
        except ConnectionError as error:
            raise UserError(_nothing_there(address, str(error).splitlines()[0])) from None
        return ray


_QUIET = {"log_to_driver": False, "logging_level": "error"}


def _imported() -> ModuleType:
    try:
        import ray
        import ray._private.ray_constants
    except ImportError:
        raise UserError(INSTALL) from None
    _read_environment(ray)
    return ray


def _read_environment(ray: ModuleType) -> None:
    """Let Ray read the environment variables again, which it does at import only."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # Ray's stub of this module leaves them out

    ray._private.ray_constants.ENABLE_RAY_CLUSTER = os.environ.get(LOOPBACK_ONLY) != "0"
    if not ray.is_initialized():
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def _has_token(ray: ModuleType) -> bool:
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # Ray's stub of this module leaves it out

    found: bool = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    return found


def _check_port(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(_nothing_there(address, getattr(error, "strerror", None) or str(error))) from None


def _check_cluster(ray: ModuleType, address: str) -> None:
    """Connect to the cluster: `ray.init` has one message for all failures, after 20 to 80 s."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # Ray's stub of this module leaves it out

    found: list[BaseException | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
            found.append(None)
        except BaseException as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_S)
    if not found:
        raise UserError(_nothing_there(address, "what listens there does not answer as Ray does"))
    if isinstance(found[0], ray.exceptions.AuthenticationError):
        raise found[0]
    if found[0] is not None:
        raise UserError(_nothing_there(address, str(found[0]).splitlines()[0][:120]))


def _nothing_there(address: str, reason: str) -> str:
    return f"executor.address: no Ray cluster at {address!r} ({reason}); start one: ray start --head"


def _refused(address: str, has_token: bool) -> str:
    what = "refuses this user's token" if has_token else "demands a token, and this user has none"
    return (
        f"executor.address: the Ray cluster at {address!r} {what}; copy the cluster's token to ~/.ray/auth_token, or "
        "name its file in RAY_AUTH_TOKEN_PATH"
    )
