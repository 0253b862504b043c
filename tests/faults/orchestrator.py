"""Dagster's daemon as a home runs it, and what its instance says; it can be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import dagster as dg
import pytest

from tests.faults.failpoints import FOLDER, Fuse
from tests.faults.lake_work import Home
from tests.messages import SECRET

ROOT: Final = Path(__file__).parents[2]
ACTIVE: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_LOCATION: Final = ("-m", "tests.faults.armed_location", "-d", str(ROOT))


class WaitedInVainError(Exception):
    """Something that had to happen did not; the text says what."""


def until(reached: Callable[[], bool], what: str, seconds: float = 600) -> None:
    """Wait for something.

    Raises:
        WaitedInVainError: it did not come.
    """
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"waited {seconds:g} s for {what}")
        time.sleep(0.5)


class Orchestrator:
    """The daemon, its code server and its runs over one home; a context manager.

    Args:
        folder: for everything of Dagster's; made.
        home: the lake and its landing zone.
        endpoint: where its processes find S3.

    Attributes:
        instance: the instance that the daemon works on.
        fuse: arms the failpoints of its runs.
    """

    def __init__(self, folder: Path, home: Home, endpoint: str = "") -> None:
        self.folder = folder
        self.fuse = Fuse(folder)
        self._dagster_home = folder / "dagster"
        self._dagster_home.mkdir(parents=True)
        (self._dagster_home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
        self._variables: Mapping[str, str] = {
            **os.environ,
            **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}),
            FOLDER: str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "edge"), *sys.path[1:]]),
            "DAGSTER_HOME": str(self._dagster_home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "SMARTDRIVE_LAKE_URL": home.lakehouse.url,
            "SMARTDRIVE_LANDING_URL": home.store.url,
            "SMARTDRIVE_SECRET": SECRET.decode(),
        }
        # Opened before any daemon: two processes that make a new home's databases at once get in each other's way.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self._dagster_home))  # its dagster.yaml names it
            self.instance = dg.DagsterInstance.from_config(str(self._dagster_home))
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lose_power()
        self.instance.dispose()

    def start(self) -> None:
        """Start the daemon."""
        with (self.folder / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [_script("dagster-daemon"), "run", *_LOCATION],
                cwd=self.folder,
                env=self._variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons.append(daemon)

    def lose_power(self) -> None:
        """SIGKILL for the daemon, its code server and all its runs."""
        for daemon in self._daemons:
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        self._daemons.clear()

    def kill_daemon(self) -> None:
        """SIGKILL for the daemon alone; its code server and its runs go on."""
        self._daemons[-1].kill()
        self._daemons[-1].wait()

    def delete_cursor(self, sensor: str) -> None:
        """Make a sensor forget where it was."""
        command = [_script("dagster"), "sensor", "cursor", sensor, "--delete", *_LOCATION]
        subprocess.run(command, cwd=self.folder, env=self._variables, check=True, capture_output=True)

    def cursor(self, sensor: str) -> str | None:
        """A sensor's cursor, as the instance keeps it."""
        states = {state.name: state.instigator_data for state in self.instance.all_instigator_state()}
        return getattr(states.get(sensor), "cursor", None)

    def runs(self, *statuses: dg.DagsterRunStatus, job: str | None = None) -> list[dg.DagsterRun]:
        """Runs in some states, newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(statuses))))

    def processes(self, *statuses: dg.DagsterRunStatus) -> set[int]:
        """The processes of runs in some states, as their tags say."""
        tags = [run.tags.get("smartdrive/process", "") for run in self.runs(*statuses)]
        return {int(tag.split("/")[1]) for tag in tags if tag}

    def cancel(self, run: dg.DagsterRun) -> None:
        """Cancel a run as the UI does."""
        self.instance.run_coordinator.cancel_run(run.run_id)

    def taken_slots(self) -> list[str]:
        """Pools in which a step holds a slot or waits for one."""
        storage = self.instance.event_log_storage
        infos = {pool: storage.get_concurrency_info(pool) for pool in storage.get_concurrency_keys()}
        return sorted(pool for pool, info in infos.items() if info.claimed_slots or info.pending_steps)


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
