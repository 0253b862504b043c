from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel
from smartdrive_edge.config import Config, ConfigError, load

from edge.docs import generate_configuration

EDGE = Path(__file__).parents[2]
LEAST = 'device_id = "edge-00001"\n[broker]\nis_insecure = true\n'
NEARLY_A_VIN = "WVWZZZ1JZXW00000"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "smartdrive-edge.toml"


def loaded(file: Path, text: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_the_least_configuration_gives_every_field_its_default(file: Path) -> None:
    config = loaded(file, LEAST)
    assert (config.adapter.port, config.broker.port, config.ignition.source) == ("/dev/ttyUSB0", 8883, "none")
    assert config.spool_path == Path("/var/lib/smartdrive-edge/spool.db")
    assert config.status_path == Path("/var/lib/smartdrive-edge/status.json")


def test_whoever_asks_finds_the_status_at_the_same_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(file, 'run_dir = "/run/smartdrive-edge"\n' + LEAST)
    before = config.status_path
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/elsewhere")
    assert load(file).status_path == before == Path("/run/smartdrive-edge/status.json")


def test_the_file_in_the_working_directory_is_found(file: Path) -> None:
    file.write_text(LEAST, encoding="utf-8")
    assert load().device_id == "edge-00001"


def test_the_environment_overrides_the_file_and_suffices_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTDRIVE_EDGE_ADAPTER__PORT", "/dev/rfcomm0")
    monkeypatch.setenv("SMARTDRIVE_EDGE_SAMPLING", '{"batch_s": 7}')
    config = loaded(file, LEAST)
    assert (config.adapter.port, config.sampling.batch_s) == ("/dev/rfcomm0", 7)
    file.unlink()
    monkeypatch.setenv("SMARTDRIVE_EDGE_DEVICE_ID", "edge-00002")
    monkeypatch.setenv("SMARTDRIVE_EDGE_BROKER__IS_INSECURE", "true")
    assert load().device_id == "edge-00002"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "device_id: is missing; broker: is missing"),
        ("device_id =", "no valid TOML"),
        (LEAST + "hots = 1", "broker.hots: there is no such field"),
        ("speed = 1\n" + LEAST, "speed: there is no such field"),
        (LEAST + "port = 99999", "broker.port: Input should be less than or equal to 65535 (it is 99999)"),
        (LEAST + "[adapter]\nprotocol = 6", "adapter.protocol: Input should be '0', '1'"),
        (LEAST + "[adapter]\nbaud_rate = 'fast'", "adapter.baud_rate: Input should be a valid integer"),
        (LEAST + "[ignition]\nsource = 'wire'", "ignition.source: Input should be 'none', 'adapter' or 'gpio'"),
        (LEAST + "[adapter]\nvoltage_offset_v = nan", "adapter.voltage_offset_v: Input should be"),
        (LEAST + "[spool]\nlimit_mb = inf", "spool.limit_mb: Input should be"),
        (LEAST + "[sampling]\nbatch_s = 0", "sampling.batch_s: Input should be greater than or equal to 1"),
        (LEAST + "alpn = ['x']", "alpn is a part of TLS"),
        (LEAST + "host = 'broker..home'", "broker.host: no host can have this name"),
        (LEAST + "[adapter]\nport = 'socket://10.0.0.1'", "adapter.port: a socket is written socket://HOST:PORT"),
        (LEAST + "key = 'k'", "is_insecure and certificates exclude each other"),
        ("device_id = 'e'\n[broker]\nkey = 'k'", "broker: authority, certificate and key are needed"),
        ("device_id = 'a/b'\n[broker]\nis_insecure = true", "device_id: "),
        ("device_id = 'e'\nbroker = 'home'", "broker: is a section, [broker], with fields of its own"),
    ],
)
def test_a_fault_is_told_with_its_field(file: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    assert told in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SMARTDRIVE_EDGE_DEVICE", "x", "'device' is none of adapter, broker"),
        ("SMARTDRIVE_EDGE_ADAPTER__BAUD", "1", "'baud' is none of baud_rate, port"),
        ("SMARTDRIVE_EDGE_BROKER__PORT__X", "1", "lies too deep"),
        ("SMARTDRIVE_EDGE_BROKER__PORT", "x", "broker.port: Input should be a valid integer"),
        ("SMARTDRIVE_EDGE_BROKER__ALPN", "x-amzn-mqtt-ca", "lists and sections are written as JSON"),
    ],
)
def test_a_fault_in_the_environment_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        loaded(file, LEAST)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        LEAST + f"[vehicle]\nvin = '{NEARLY_A_VIN}'",
        f"vehicle = '{NEARLY_A_VIN}'\n" + LEAST,
        f"device_id = '{NEARLY_A_VIN}1'\n[broker]\nis_insecure = true",
    ],
)
def test_no_vin_is_repeated_in_a_fault(file: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    assert NEARLY_A_VIN not in str(caught.value)


def test_a_configuration_does_not_show_its_vin(file: Path) -> None:
    config = loaded(file, LEAST + "[vehicle]\nvin = 'WVWZZZ1JZXW000001'")
    assert config.vehicle.vin == "WVWZZZ1JZXW000001"
    assert "WVWZZZ1JZXW000001" not in repr(config)


def test_a_missing_file_and_a_folder_are_refused(file: Path) -> None:
    for path in (file, file.parent):
        with pytest.raises(ConfigError, match="no such file"):
            load(path)


def test_every_field_says_what_it_is() -> None:
    models: list[type[BaseModel]] = [Config]
    silent = []
    for model in models:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                models.append(kind)
                assert kind.__doc__
            elif not field.description:
                silent.append(f"{model.__name__}.{name}")
    assert silent == []
    assert len(models) == 10


def test_the_page_of_the_configuration_is_current() -> None:
    stale = generate_configuration.PAGE.read_text(encoding="utf-8") != generate_configuration.page()
    assert not stale, "run .venv/bin/python edge/docs/generate_configuration.py"


def test_the_example_is_a_configuration_and_fits_the_unit() -> None:
    example = EDGE / "smartdrive-edge.example.toml"
    config = load(example)
    unit = (EDGE / "systemd" / "smartdrive-edge.service").read_text(encoding="utf-8")
    assert f"StateDirectory={config.state_dir.relative_to('/var/lib')}\n" in unit
    assert f"RuntimeDirectory={config.status_path.parent.relative_to('/run')}\n" in unit
    assert not config.broker.is_insecure


@pytest.mark.parametrize("comment", ["gpio_line = 17", "is_active_low = true", "voltage_offset_v = 0.35"])
def test_what_the_example_has_in_comments_can_be_taken_out_of_them(tmp_path: Path, comment: str) -> None:
    text = (EDGE / "smartdrive-edge.example.toml").read_text(encoding="utf-8")
    assert f"# {comment}" in text
    file = tmp_path / "config.toml"
    file.write_text(text.replace(f"# {comment}", comment), encoding="utf-8")
    assert load(file) != load(EDGE / "smartdrive-edge.example.toml")
