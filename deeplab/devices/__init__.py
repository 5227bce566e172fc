"""Runs exported networks on devices, and measures the memory they use.

`run` builds a network for a device, runs it there and returns a `DeviceRun`. The only device is a Cortex-M7 without an
operating system, emulated by QEMU (`board`).
"""

from deeplab.devices.board import CORTEX_M7, Board, missing_tools, run
from deeplab.devices.device_run import DeviceRun

__all__ = ["CORTEX_M7", "Board", "DeviceRun", "missing_tools", "run"]
