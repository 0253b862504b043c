"""The simulator through a real serial port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from smartdrive_edge.simulator import Clock, FaultKind, Simulator, scenario
from smartdrive_edge.simulator.elm327 import LATE_PROMPT_S


class Client:
    def __init__(self, port: str, timeout_s: float = 2.0) -> None:
        self.serial = serial.Serial(port, 38400, timeout=timeout_s)

    def ask(self, line: str) -> str:
        self.serial.write(line.encode() + b"\r")
        return self.serial.read_until(b">").decode("latin-1")

    def setup(self) -> Client:
        for line in ("ATE0", "ATS0", "ATTP6"):
            assert "OK" in self.ask(line)
        return self


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator("drive", latency="2/5", seed=7) as running:
        running.clock.skip(60.0)
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    made = Client(simulator.port).setup()
    yield made
    made.serial.close()


def test_a_serial_program_talks_to_the_car(simulator: Simulator, client: Client) -> None:
    rpm = int(client.ask("010C")[4:8], 16) / 4
    assert rpm == pytest.approx(simulator.car.state_at(simulator.log[-1].at_s).rpm, abs=0.25)
    assert client.ask("ATRV") == "14.2V\r\r>"
    assert client.ask("0902").startswith("014\r0:490201")


def test_each_line_is_logged_with_its_time_and_answer(simulator: Simulator, client: Client) -> None:
    before = simulator.clock.now()
    client.ask("010D")
    client.ask("ATRV")
    speed, voltage = simulator.log[-2:]
    assert (speed.request, voltage.request, voltage.answer) == ("010D", "ATRV", b"14.2V\r\r>")
    assert before <= speed.at_s <= voltage.at_s <= simulator.clock.now()


def test_nothing_forbidden_is_recorded_until_it_is_sent(simulator: Simulator, client: Client) -> None:
    client.ask("0100")
    assert (simulator.forbidden_requests, simulator.eeprom_writes) == ([], [])
    client.ask("04")
    client.ask("ATSP0")
    assert [r.request for r in simulator.forbidden_requests] == [b"\x04"]
    assert simulator.eeprom_writes == ["SP0"]


def test_lines_sent_at_once_are_answered_in_order(client: Client) -> None:
    client.serial.write(b"ATI\rATDPN\r")
    assert client.serial.read_until(b">") == b"ELM327 v1.5\r\r>"
    assert client.serial.read_until(b">") == b"6\r\r>"


@pytest.mark.parametrize(
    ("latency", "at_s", "pid_s"), [("8/25", 0.008, 0.025), ("15/60", 0.015, 0.06), ("30/90", 0.03, 0.09)]
)
def test_answers_take_as_long_as_the_profile_says(latency: str, at_s: float, pid_s: float) -> None:
    with Simulator("drive", latency=latency) as simulator:
        simulator.clock.skip(60.0)
        client = Client(simulator.port).setup()
        for line, expected in (("ATRV", at_s), ("010C", pid_s)):
            took = []
            for _ in range(5):
                began = time.perf_counter()
                client.ask(line)
                took.append(time.perf_counter() - began)
            assert expected <= min(took) < 2 * expected + 0.1  # the rest is this computer's
        client.serial.close()


def test_a_silent_ecu_costs_200_ms_and_answers_no_data() -> None:
    with Simulator("parked", latency="2/5") as simulator:
        client = Client(simulator.port).setup()
        began = time.perf_counter()
        assert client.ask("0100") == "NO DATA\r\r>"
        assert time.perf_counter() - began >= 0.2
        client.serial.close()


def test_bytes_are_paced_as_on_a_slow_line() -> None:
    with Simulator("drive", latency="1/1", baud=1200) as simulator:
        client = Client(simulator.port)
        began = time.perf_counter()
        answer = client.ask("ATI")
        assert time.perf_counter() - began >= len(answer) * 10 / 1200
        client.serial.close()


def test_a_byte_during_a_request_to_the_car_stops_it() -> None:
    with Simulator("drive", latency="2/1000") as simulator:
        simulator.clock.skip(60.0)
        client = Client(simulator.port).setup()
        client.serial.write(b"010C\r")
        time.sleep(0.05)
        client.serial.write(b"0")
        began = time.perf_counter()
        assert client.serial.read_until(b">") == b"STOPPED\r\r>"
        assert time.perf_counter() - began < 0.7
        assert client.ask("010D").startswith("410D")
        client.serial.close()


def test_a_port_that_nobody_reads_does_not_hang_the_simulator(simulator: Simulator, client: Client) -> None:
    for _ in range(1500):
        client.serial.write(b"ATDP\r")
    simulator.clock.skip(1.0)
    before = len(simulator.log)
    time.sleep(0.3)
    assert len(simulator.log) > before


def test_two_hours_pass_in_a_second_and_latencies_shrink_alike() -> None:
    with Simulator("lights-left-on", latency="15/60", speed=7200.0) as simulator:
        client = Client(simulator.port).setup()
        began = time.perf_counter()
        voltages = []
        while simulator.clock.now() < 6.8 * 3600:
            voltages.append((simulator.clock.now(), float(client.ask("ATRV").removesuffix("V\r\r>"))))
            simulator.clock.sleep(60.0)
        assert time.perf_counter() - began < 8.0
        assert len(voltages) > 50
        for at, voltage in voltages:  # read within a few wall milliseconds, that is a simulated minute
            assert voltage == pytest.approx(simulator.car.voltage_at(at), abs=0.3) or at < 1800
        assert voltages[-1][1] < 11.5
        client.serial.close()


def test_a_start_that_is_read_in_real_time_shows_its_inrush_and_its_plateau() -> None:
    with Simulator("winter-start", latency="8/25", seed=3) as simulator:
        client = Client(simulator.port).setup()
        crank = simulator.car.cranks[0]
        simulator.clock.skip(crank.at_s - 0.2 - simulator.clock.now())
        while simulator.clock.now() < crank.at_s + 0.7:
            client.ask("ATRV")
        client.serial.close()
        read = [(e.at_s - crank.at_s, float(e.answer[:-4])) for e in simulator.log if e.request == "ATRV"]
        assert min(v for t, v in read if 0 <= t < 0.1) < crank.inrush_v + 1.0
        window = [v for t, v in read if 0.1 <= t < 0.6]
        assert len(window) >= 8
        assert sum(window) / len(window) == pytest.approx(crank.plateau_v, abs=0.12)


def test_time_skips_but_never_goes_back() -> None:
    clock = Clock(speed=10.0)
    clock.skip(3600.0)
    assert 3600.0 <= clock.now() < 3601.0
    assert clock.wall(5.0) == 0.5
    with pytest.raises(ValueError, match="back"):
        clock.skip(-1.0)
    for speed in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="positive"):
            Clock(speed)


def test_a_start_passes_slowly_in_a_fast_car(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_s = 0.0
    monkeypatch.setattr("smartdrive_edge.simulator.clock.time.monotonic", lambda: wall_s)
    with Simulator("drive", speed=200.0) as simulator:
        clock, (crank,) = simulator.clock, simulator.car.cranks
        began_s, ended_s = crank.at_s - 2.0, crank.at_s + crank.duration_s
        waits = clock.wall(ended_s + 100.0)
        assert waits == pytest.approx(began_s / 200 + (ended_s - began_s) / 4 + 100 / 200)
        wall_s = began_s / 200
        assert clock.now() == pytest.approx(began_s)
        wall_s += 0.1
        assert clock.now() == pytest.approx(began_s + 0.4)
        wall_s = waits
        assert clock.now() == pytest.approx(ended_s + 100.0)  # in one look, over the whole start
        assert clock.wall(1.0) == pytest.approx(1 / 200)


def test_each_of_several_starts_passes_slowly_whichever_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_s = 0.0
    monkeypatch.setattr("smartdrive_edge.simulator.clock.time.monotonic", lambda: wall_s)
    clock = Clock(speed=100.0, slow=[(10.0, 12.0), (20.0, 22.0), (30.0, 32.0), (40.0, 42.0)])
    wall_s += 0.1 + 0.5 + 0.03
    assert clock.now() == pytest.approx(15.0)
    clock.skip(10.0)
    assert clock.wall(10.0) == pytest.approx(0.08 + 0.5)
    wall_s += 0.05 + 0.25
    assert clock.now() == pytest.approx(31.0)
    wall_s += 0.25 + 0.08 + 0.5 + 0.01
    assert clock.now() == pytest.approx(43.0)


def test_a_dead_dongle_answers_nothing_and_comes_back(simulator: Simulator, client: Client) -> None:
    client.serial.timeout = 0.1
    simulator.fault("dead", for_s=0.25)
    assert client.ask("ATRV") == ""
    time.sleep(0.3)
    assert client.ask("ATRV") == "14.2V\r\r>"


def test_an_unplugged_dongle_takes_its_port_along_and_returns_under_the_same_path(
    simulator: Simulator, client: Client
) -> None:
    client.ask("ATS0")
    first = os.readlink(simulator.port)
    simulator.fault(FaultKind.UNPLUG, for_s=1.0)
    time.sleep(0.1)
    with pytest.raises((serial.SerialException, OSError)):
        client.ask("ATRV")
    assert not Path(simulator.port).exists()
    with pytest.raises(serial.SerialException):
        Client(simulator.port)
    client.serial.close()
    deadline = time.monotonic() + 3
    while not Path(simulator.port).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    again = Client(simulator.port)
    assert again.ask("ATDPN") == "ATDPN\rA0\r\r>"  # started afresh: echo is on, the protocol unknown
    assert first.startswith("/dev/pts/")
    again.serial.close()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("no data", "NO DATA\r\r>"),
        ("unable to connect", "SEARCHING...\rUNABLE TO CONNECT\r\r>"),
        ("bus init", "BUS INIT: ...ERROR\r\r>"),
        ("can error", "CAN ERROR\r\r>"),
        ("stopped", "STOPPED\r\r>"),
        ("absent ecu", "NO DATA\r\r>"),
    ],
)
def test_a_failing_bus_is_reported_until_it_heals(
    simulator: Simulator, client: Client, kind: str, answer: str
) -> None:
    simulator.fault(kind)
    assert client.ask("010D") == answer
    assert client.ask("ATRV") == "14.2V\r\r>"
    simulator.heal(kind)
    assert client.ask("010D").startswith("410D")


@pytest.mark.parametrize("kind", ["dead", "garbage", "no data", "absent ecu", "can error"])
def test_a_fault_does_not_hide_what_should_not_have_been_sent(
    simulator: Simulator, client: Client, kind: str
) -> None:
    client.serial.timeout = 0.4
    simulator.fault(kind)
    client.ask("04")
    client.ask("ATSP0")
    client.serial.timeout = 2.0
    simulator.heal()
    client.ask("ATI")
    assert [r.request for r in simulator.forbidden_requests] == [b"\x04"]
    assert simulator.eeprom_writes == ["SP0"]


def test_a_full_buffer_ends_a_long_answer(simulator: Simulator, client: Client) -> None:
    simulator.fault("buffer full")
    assert client.ask("0902") == "014\rBUFFER FULL\r\r>"


def test_a_truncated_frame_has_lost_its_last_byte(simulator: Simulator, client: Client) -> None:
    whole = client.ask("0131")
    simulator.fault("truncated")
    assert client.ask("0131") == whole.removesuffix("\r\r>")[:-2] + "\r\r>"
    client.ask("ATH1")
    assert client.ask("0131") == "7E80441" + whole[2:6] + "\r\r>"


def test_garbage_is_no_answer_and_the_same_for_the_same_seed() -> None:
    heard = []
    for seed in (1, 1, 2):
        with Simulator("drive", latency="1/2", seed=seed) as simulator:
            client = Client(simulator.port).setup()
            simulator.fault("garbage", times=1)
            heard.append(client.ask("ATRV"))
            assert client.ask("ATRV").endswith("V\r\r>")
            client.serial.close()
    assert heard[0] == heard[1] != heard[2]
    assert not any(character.isalnum() and character.isascii() for character in heard[0])


def test_a_late_prompt_comes_a_second_after_its_answer(simulator: Simulator, client: Client) -> None:
    simulator.fault("late prompt", times=1)
    client.serial.write(b"ATRV\r")
    assert client.serial.read_until(b"\r\r") == b"14.2V\r\r"
    began = time.perf_counter()
    assert client.serial.read_until(b">") == b">"
    assert time.perf_counter() - began > LATE_PROMPT_S * 0.9


def test_a_second_ecu_joins_and_leaves(simulator: Simulator, client: Client) -> None:
    client.ask("ATH1")
    assert client.ask("010D").count("7E9") == 0
    simulator.fault("two ecus")
    assert client.ask("010D").count("7E9") == 1
    simulator.heal()
    assert client.ask("010D").count("7E9") == 0


def test_frames_of_a_long_answer_change_places(simulator: Simulator, client: Client) -> None:
    simulator.fault("out of order", times=1)
    assert [line[:2] for line in client.ask("0902").split("\r")[:4]] == ["01", "0:", "2:", "1:"]
    assert [line[:2] for line in client.ask("0902").split("\r")[:4]] == ["01", "0:", "1:", "2:"]


def test_a_fault_may_befall_some_requests_only_so_many_times_and_later(
    simulator: Simulator, client: Client
) -> None:
    simulator.fault("no data", only="0902", times=2)
    assert client.ask("010D").startswith("410D")
    assert [client.ask("0902")[:7] for _ in range(3)] == ["NO DATA", "NO DATA", "014\r0:4"]
    simulator.fault("can error", after_s=100.0, for_s=50.0)
    assert client.ask("010D").startswith("410D")
    simulator.clock.skip(120.0)
    assert client.ask("010D") == "CAN ERROR\r\r>"
    simulator.clock.skip(50.0)
    assert client.ask("010D").startswith("410D")


def test_another_files_place_is_not_taken(tmp_path: Path) -> None:
    taken = tmp_path / "precious"
    taken.write_text("mine")
    with pytest.raises(FileExistsError, match="choose another path"), Simulator("parked", link=taken):
        pass
    assert taken.read_text() == "mine"


def test_the_port_is_gone_when_the_simulator_ends(tmp_path: Path) -> None:
    with Simulator("parked", link=tmp_path / "port") as simulator:
        assert Path(simulator.port).is_symlink()
    assert list(tmp_path.iterdir()) == []


def test_a_scenario_of_your_own_will_do() -> None:
    with Simulator(scenario("parked"), latency="1/2") as simulator:
        client = Client(simulator.port)
        assert "12.6V" in client.ask("ATRV")
        client.serial.close()


def test_the_command_prints_a_port_serves_it_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    link = tmp_path / "elm327"
    command = [sys.executable, "-c", "from smartdrive_edge.cli import main; main()", "simulate"]
    process = subprocess.Popen(
        [*command, "--scenario", "parked", "--link", str(link)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{link}\n"
        time.sleep(0.3)
        assert process.poll() is None
        client = Client(str(link))
        assert "12.6V" in client.ask("ATRV")
        client.serial.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        assert not link.is_symlink()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--list"], "winter-start"),
        (["--help"], "smartdrive-edge simulate --scenario winter-start"),
        (["--latency", "soon"], "15/60"),
        (["--scenario", "moon"], "lights-left-on"),
        (["--speed", "0"], "positive"),
    ],
)
def test_the_command_says_what_it_knows_and_what_was_wrong(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-c", "from smartdrive_edge.cli import main; main()", "simulate"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert said in " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if arguments[0] in {"--list", "--help"} else 2)
