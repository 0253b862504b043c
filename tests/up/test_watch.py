"""When a program counts as healthy and when it is started again, told by looks at made-up moments."""

from __future__ import annotations

from smartdrive_dagster.up.probes import Fault, Process
from smartdrive_dagster.up.watch import STARTS_WITHIN_S, Sight, Watch

SILENT = Fault("does not answer")


def running(fault: Fault | None = None, pid: int = 7) -> Sight:
    return Sight("RUNNING", Process(pid, 0.0), fault)


def at_rest(state: str = "STOPPED", *, may_start: bool = True) -> Sight:
    return Sight(state, Process(0, 0.0), None, may_start)


def healthy(patience_s: float = 60) -> Watch:
    watch = Watch("webserver", patience_s)
    assert watch.see(running(), 0) is None
    assert watch.take_said() == ["webserver: healthy"]
    return watch


def test_a_program_is_started_again_only_after_it_hung_for_the_stated_time() -> None:
    watch = healthy()
    assert watch.see(running(SILENT), 10) is None
    assert watch.take_said() == ["webserver: unhealthy, does not answer"]
    assert watch.see(running(SILENT), 69) is None
    assert watch.see(running(SILENT), 70) == "stop"
    assert watch.see(at_rest(), 71) == "start"
    assert watch.see(running(SILENT, pid=8), 72) is None
    assert watch.take_said() == ["webserver: restarted, did not answer for 60 s"]
    assert watch.state == "starting"
    assert watch.left_behind == [7]


def test_an_answer_in_between_begins_the_time_anew() -> None:
    watch = healthy()
    watch.see(running(SILENT), 10)
    watch.see(running(), 60)
    assert watch.see(running(SILENT), 100) is None
    assert watch.see(running(SILENT), 159) is None
    assert watch.see(running(SILENT), 160) == "stop"


def test_what_a_restart_cannot_mend_is_said_and_left_alone() -> None:
    watch = healthy()
    for now_s in range(0, 10_000, 100):
        assert watch.see(running(Fault("not connected to the broker", mend=False)), now_s) is None
    assert watch.state == "unhealthy"
    assert watch.take_said() == ["webserver: unhealthy, not connected to the broker"]


def test_a_start_may_take_longer_than_a_hang() -> None:
    watch = Watch("webserver", 60)
    for now_s in range(int(STARTS_WITHIN_S)):
        assert watch.see(running(SILENT), now_s) is None
        assert watch.state == "starting"
    assert watch.see(running(SILENT), STARTS_WITHIN_S) == "stop"


def test_each_restart_that_did_not_help_waits_twice_as_long_and_ten_minutes_at_most() -> None:
    watch = healthy()
    waited, now_s, pid = [], 0.0, 7
    for _ in range(6):
        watch.see(running(SILENT, pid), now_s := now_s + 1)
        began_s = now_s
        while watch.see(running(SILENT, pid), now_s) != "stop":
            now_s += 1
        waited.append(now_s - began_s)
        pid += 1
        watch.see(running(None, pid), now_s := now_s + 1)
    assert waited == [60, 120, 240, 480, 600, 600]


def test_a_program_that_stays_healthy_is_given_its_first_patience_back() -> None:
    watch = healthy()
    watch.see(running(SILENT), 0)
    assert watch.see(running(SILENT), 60) == "stop"
    watch.see(running(None, 8), 61)
    watch.see(running(None, 8), 1000)
    watch.see(running(SILENT, 8), 1001)
    assert watch.see(running(SILENT, 8), 1061) == "stop"


def test_a_program_waits_for_what_it_starts_after_but_only_the_first_time() -> None:
    watch = Watch("daemon", 60)
    assert watch.see(at_rest(may_start=False), 0) is None
    assert watch.state == "waiting"
    assert watch.see(at_rest(), 1) == "start"
    watch.see(running(), 2)
    assert watch.see(at_rest(may_start=False), 3) == "start"


def test_a_program_that_supervisord_has_given_up_is_tried_again_after_a_pause() -> None:
    watch = Watch("lander", 60)
    watch.see(running(SILENT), 0)
    assert watch.see(at_rest("FATAL"), 10) is None
    assert watch.take_said() == ["lander: unhealthy, ends as soon as it starts; its log says why"]
    assert watch.see(at_rest("FATAL"), 69) is None
    assert watch.see(at_rest("FATAL"), 70) == "start"


def test_a_process_that_changed_by_itself_is_said_and_its_children_are_left_behind() -> None:
    watch = healthy()
    watch.see(running(None, 8), 5)
    assert watch.take_said() == ["webserver: restarted, its process had ended", "webserver: healthy"]
    assert (watch.left_behind, watch.restarts) == ([7], 1)
