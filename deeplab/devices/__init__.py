"""Devices that an exported network is run on: built for the device, started there, and measured.

`run` returns the outputs and the memory used: a `DeviceRun`. The one device so far is a Cortex-M7 without an
operating system, emulated by QEMU (`board`).
"""

from deeplab.devices.board import CORTEX_M7, Board, missing_tools, run
from deeplab.devices.device_run import DeviceRun

__all__ = ["CORTEX_M7", "Board", "DeviceRun", "missing_tools", "run"]
