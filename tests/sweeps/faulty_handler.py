"""Handlers for the supervisor's tests; importable by worker processes."""

import errno
import os
import time
from pathlib import Path

from evaluation.errors import UserError


def open_handler():
    state = {"answered": 0}

    def handle(request):
        state["answered"] += 1
        if str(request).startswith("crash once "):
            mark = Path(request.removeprefix("crash once "))
            if mark.exists():
                return "survived"
            mark.touch()
            os._exit(7)
        match request:
            case "crash":
                os._exit(7)
            case "hang":
                time.sleep(600)
            case "raise":
                raise ValueError("no\nsecond line")
            case "user":
                raise UserError("the user's file")
            case "full":
                raise OSError(errno.ENOSPC, "No space left on device", "somewhere")
            case "grow":
                state["held"] = bytearray(os.urandom(1)) * 300_000_000
                time.sleep(600)
            case "pid":
                return os.getpid()
            case "count":
                return state["answered"]
        return request * 2

    return handle


def open_never():
    os._exit(9)


def open_wrongly():
    raise UserError("no such folder")
