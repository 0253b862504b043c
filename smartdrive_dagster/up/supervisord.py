"""The group as supervisord's configuration, and the one thing that supervisord lacks: words for the terminal."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from smartdrive_dagster.up.files import Files, StateError
from smartdrive_dagster.up.programs import PROBER, Plan

_LOG = "stdout_logfile_maxbytes=5MB\nstdout_logfile_backups=3\nredirect_stderr=true"


def configuration(plan: Plan, files: Files) -> str:
    """The text of `supervisord.conf`: a private socket and no port, every program's log, stops in reverse order.

    Raises:
        StateError: a path would add a line of its own.
    """
    sections = [
        f"[supervisord]\nnodaemon=true\nsilent=true\nlogfile={_quoted(str(files.log('supervisord')))}\n"
        f"logfile_maxbytes=5MB\nlogfile_backups=3\npidfile={_quoted(str(files.folder / 'supervisord.pid'))}\n"
        f"childlogdir={_quoted(str(files.logs))}" + (_as_root() if os.geteuid() == 0 else ""),
        f"[unix_http_server]\nfile={_quoted(str(files.control))}\nchmod=0600",
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        f"[rpcinterface:terminal]\nsupervisor.rpcinterface_factory={__name__}:make_terminal",
    ]
    ours = [program for program in plan.programs if program.command]
    for number, program in enumerate(ours, start=1):
        sections.append(
            f"[program:{program.name}]\ncommand={_command(program.command)}\npriority={number * 10}\n"
            f"autostart={'false' if program.starts_after else 'true'}\nautorestart=true\nstartsecs=3\n"
            f"stopwaitsecs={program.stops_within_s}\nstopasgroup=true\nkillasgroup=true\n"
            f"stdout_logfile={_quoted(str(files.log(program.name)))}\n{_LOG}"
        )
    prober = (sys.executable, "-m", "smartdrive_dagster.up.prober", str(files.folder))
    # It survives the others by its signal: it ends what is left when supervisord was killed.
    sections.append(
        f"[program:{PROBER}]\ncommand={_command(prober)}\npriority=900\nautorestart=true\nstartsecs=3\n"
        f"startretries=1000\nstopwaitsecs=10\nstdout_logfile={_quoted(str(files.log(PROBER)))}\n{_LOG}"
    )
    return "\n\n".join(sections) + "\n"


def workspace(files: Files) -> str:
    """The text of the workspace file that leads to the code server."""
    return (
        f"load_from:\n  - grpc_server:\n      socket: '{str(files.code_server).replace(chr(39), chr(39) * 2)}'\n"
        + ("      location_name: smartdrive\n")
    )


class Terminal:
    """Prints for the prober, whose own output goes to its log: `terminal.say` of supervisord's XML-RPC.

    supervisord alone has the terminal's descriptor, which under systemd is a socket that no path opens.
    """

    def say(self, line: str) -> bool:
        """Print one line; a terminal that is gone is no reason to fail."""
        with contextlib.suppress(OSError):
            os.write(1, f"{line}\n".encode())
        return True


def make_terminal(_supervisord: Any, **_config: str) -> Terminal:
    """Called by supervisord when it starts."""
    return Terminal()


def _command(command: tuple[str, ...]) -> str:
    bound = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
    return _quoted(shlex.join((*bound, *command)))


def _quoted(text: str) -> str:
    """For the ini file, in which `%` expands, some values twice, and ` ;` begins a comment."""
    if not text.isprintable():
        raise StateError(f"{text!r} holds a character that no configuration can hold")
    if "%" in text or " ;" in text:
        raise StateError(f"{text!r} holds '%' or ' ;', which means something else there: choose another directory")
    return text


def _as_root() -> str:
    return f"\nuser={getpass.getuser()}"


def program() -> list[str]:
    """The command that becomes supervisord; `-c` and the configuration follow."""
    return [sys.executable, "-m", "supervisor.supervisord"]


def control(path: Path) -> Any:
    """Connect to the XML-RPC of supervisord over its socket."""
    from xmlrpc.client import ServerProxy

    from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

    return ServerProxy("http://localhost", SupervisorTransport(None, None, f"unix://{path}"))
