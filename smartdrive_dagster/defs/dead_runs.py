"""Runs whose process was killed: nobody else would tell the instance, and sensors would wait for them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import dagster as dg

_TAG: Final = "smartdrive/process"


def process_tag() -> dict[str, str]:
    """The tag that a run of this process carries: host, process id and the process's start time."""
    return {_TAG: f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"}


def bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed whose process on this host is gone, and free their pool slots."""
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(started):
        host, _, process = run.tags.get(_TAG, "").partition("/")
        if host == socket.gethostname() and not _is_alive(process):
            instance.report_run_failed(run, "its process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: str) -> bool:
    number, _, started = process.partition("/")
    return number.isdigit() and _started(int(number)) == started


def _started(process_id: int) -> str:
    """Clock ticks from boot to the process's start (proc(5), field 22 of stat); empty where there is none."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
