"""The prober: looks at every program, writes `health.json`, and has supervisord start again what hangs.

It also ends what others leave behind: the children of a killed program, and everything when supervisord itself was
killed. Run as ``python -m smartdrive_dagster.up.prober FOLDER`` by supervisord.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from xmlrpc.client import Error as RpcError

import msgspec

from smartdrive_dagster.up.files import Files
from smartdrive_dagster.up.health import Health, ProgramHealth
from smartdrive_dagster.up.probes import Fault, Process
from smartdrive_dagster.up.programs import Plan, Program
from smartdrive_dagster.up.supervisord import control
from smartdrive_dagster.up.watch import Sight, Watch

_PERIOD_S: Final = 1.0
_END_WITHIN_S: Final = 10.0
_log: Final = logging.getLogger("health")


class Prober:
    """Looks once a second.

    Args:
        plan: what runs.
        files: where.
        supervisor: supervisord's XML-RPC.
    """

    def __init__(self, plan: Plan, files: Files, supervisor: Any) -> None:
        self._plan = plan
        self._files = files
        self._supervisor = supervisor
        self._supervisor_pid = os.getppid()
        before = Health.read(files.health)
        pids = {one.name: one.pid for one in before.programs} if before else {}
        if before is None or before.supervisor != self._supervisor_pid:
            pids = {}  # of a group that has ended
        self._watches = {
            program.name: Watch(program.name, plan.patience_s, pid=pids.get(program.name, 0))
            for program in plan.programs
        }
        self._good_until: dict[str, tuple[Process, float]] = {}
        self._ending: dict[int, float] = {}
        self._began_s = time.monotonic()
        self._told_ready = bool(pids)

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set or supervisord is gone; in the latter case end all programs."""
        with ThreadPoolExecutor(len(self._plan.programs)) as pool:
            while not stop.is_set() and not self._is_orphan():
                try:
                    self._look(pool)
                except (OSError, RpcError) as error:
                    _log.warning("supervisord: %s", error)
                stop.wait(_PERIOD_S)
        groups = set(self._ending)
        if self._is_orphan():
            _log.error("supervisord is gone: ending all programs")
            groups |= {watch.pid for watch in self._watches.values() if watch.pid}
        end_groups(groups)

    def _look(self, pool: ThreadPoolExecutor) -> None:
        found = {info["name"]: info for info in self._supervisor.supervisor.getAllProcessInfo()}
        healthy = {name for name, watch in self._watches.items() if watch.state == "healthy"}
        sights = pool.map(lambda program: self._sight(program, found, healthy), self._plan.programs)
        for program, sight in zip(self._plan.programs, sights, strict=True):
            watch = self._watches[program.name]
            order = watch.see(sight, time.monotonic())
            if order and program.command:
                _log.info("%s: %s", program.name, order)
                with contextlib.suppress(RpcError):  # it has changed by itself in the meantime: look again
                    getattr(self._supervisor.supervisor, f"{order}Process")(program.name, False)
            self._say(watch.take_said())
        self._end_what_is_left_behind()
        health = self._health()
        health.write(self._files.health)
        if health.is_healthy and not self._told_ready:
            self._told_ready = True
            self._say([f"all healthy after {time.monotonic() - self._began_s:.0f} s: {self._plan.summary}"])

    def _sight(self, program: Program, found: Mapping[str, Mapping[str, Any]], healthy: set[str]) -> Sight:
        if not program.command:
            process = Process(0, 0.0)
            return Sight("RUNNING", process, self._fault(program, process))
        info = found[program.name]
        state, process = str(info["statename"]), Process(int(info["pid"]), float(info["start"]))
        fault = self._fault(program, process) if state in {"RUNNING", "STARTING"} else None
        return Sight(state, process, fault, healthy.issuperset(program.starts_after))

    def _fault(self, program: Program, process: Process) -> Fault | None:
        seen, until_s = self._good_until.get(program.name, (None, 0.0))
        if seen == process and time.monotonic() < until_s:
            return None
        fault = program.probe.look(process)
        good_s = program.looked_at_every_s if fault is None else 0.0
        self._good_until[program.name] = (process, time.monotonic() + good_s)
        return fault

    def _health(self) -> Health:
        programs = tuple(
            ProgramHealth(
                program.name,
                self._watches[program.name].state,
                self._watches[program.name].reason,
                self._watches[program.name].pid,
                self._watches[program.name].restarts,
                str(self._files.log(program.name)) if program.command else "",
            )
            for program in self._plan.programs
        )
        return Health(time.time(), self._supervisor_pid, self._plan.summary, programs)

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            _log.info(line)
            self._supervisor.terminal.say(line)

    def _end_what_is_left_behind(self) -> None:
        for watch in self._watches.values():
            while watch.left_behind:
                self._ending[watch.left_behind.pop()] = time.monotonic()
        for group, since_s in list(self._ending.items()):
            late = time.monotonic() - since_s > _END_WITHIN_S
            if not _signal_group(group, signal.SIGKILL if late else signal.SIGTERM):
                del self._ending[group]

    def _is_orphan(self) -> bool:
        return os.getppid() != self._supervisor_pid


def end_groups(groups: set[int], within_s: float = _END_WITHIN_S) -> None:
    """End process groups: SIGTERM, and SIGKILL for what is left after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    left = {group for group in groups if _signal_group(group, signal.SIGTERM)}
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = {group for group in left if _signal_group(group, 0)}
    for group in left:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    """Whether the group had a member."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # not ours: the number was given to another
        return False
    return True


def main() -> None:
    """Run in a folder that `smartdrive up` made."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = Files(Path(sys.argv[1]))
    plan = msgspec.json.decode(files.plan.read_bytes(), type=Plan)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    Prober(plan, files, control(files.control)).run(stop)


if __name__ == "__main__":
    main()
