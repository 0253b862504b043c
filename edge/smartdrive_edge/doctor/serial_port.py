"""The serial port: whether it is there, may be opened, and is free."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smartdrive_edge.doctor.findings import Finding, fail, ok, warn
from smartdrive_edge.doctor.processes import lock_holders, named, openers

CHECK: Final = "serial port"
_LIKELY: Final = ("ttyUSB*", "ttyACM*", "rfcomm*")


def check_port(port: str) -> Iterator[Finding]:
    """Look at the port without opening it.

    Args:
        port: device, or a URL of pyserial, of which nothing can be said before it is opened.
    """
    if "://" in port:
        yield ok(CHECK, f"{port} is reached over the network")
        return
    device = Path(port)
    if not device.exists():
        there = sorted(str(path) for pattern in _LIKELY for path in Path("/dev").glob(pattern))
        others = f"there are {', '.join(there)}: set adapter.port" if there else "no such port is there at all"
        yield fail(
            CHECK,
            f"{port} is not there; {others}",
            "plug the adapter in and look at `dmesg | tail`; for a Bluetooth adapter see edge/docs/bluetooth.md",
        )
    elif not stat.S_ISCHR(device.stat().st_mode):
        yield fail(CHECK, f"{port} is no serial port", "set adapter.port")
    elif not os.access(device, os.R_OK | os.W_OK):
        yield _forbidden(device)
    else:
        yield _holders(device)


def _holders(device: Path) -> Finding:
    locked_by = lock_holders(device)
    if locked_by:
        return fail(
            CHECK, f"{device} is held by process {named(locked_by)}", "stop it: one program owns an adapter"
        )
    # The other end of a pseudo terminal has this end open too, and that is no rival.
    others = [] if str(device.resolve()).startswith("/dev/pts/") else openers(device)
    if others:
        return warn(
            CHECK,
            f"{device} is also open in process {named(others)}",
            "stop it, or answers go astray; ModemManager for one probes every port: disable it",
        )
    return ok(CHECK, f"{device} is there, may be opened, and is free")


def _forbidden(device: Path) -> Finding:
    facts = device.stat()
    user, group = _user_name(os.geteuid()), _group_name(facts.st_gid)
    text = f"{device} ({stat.filemode(facts.st_mode)}, group {group}) may not be opened by {user}"
    if not facts.st_mode & stat.S_IRGRP or not facts.st_mode & stat.S_IWGRP:
        return fail(CHECK, text, "let its group read and write it by a udev rule: its mode should be crw-rw----")
    if _is_member(user, facts.st_gid):
        return fail(
            CHECK, text, f"{user} was added to {group} after this login: log in again, or restart the service"
        )
    return fail(CHECK, text, f"sudo usermod -aG {group} {user}, then log in again")


def _is_member(user: str, group: int) -> bool:
    try:
        return user in grp.getgrgid(group).gr_mem
    except KeyError:
        return False


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
