"""Waiting for what another process or thread does: until it is so, not for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float, what: str) -> T:
    """The first true value of `condition`, asked again and again.

    Args:
        condition: may raise, where what is waited for can no longer come.
        timeout_s: how long at most; far more than it should take.
        what: is waited for, in the message if it does not come.

    Raises:
        AssertionError: it did not come in time.
    """
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(PAUSE_S)
    return found
