import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from smartdrive_dagster.settings import SecretMissingError, Settings

LONG = "0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_secret_is_made_on_first_use_and_stays(home):
    first = Settings().lake_secret()
    assert len(first) >= 32
    assert Settings().lake_secret() == first
    assert [path.name for path in (home / ".smartdrive").iterdir()] == ["secret"]


def test_two_lakes_have_different_secrets(home):
    secrets = {Settings(secret_file=home / name / "secret").lake_secret() for name in ("a", "b")}
    assert len(secrets) == 2


@pytest.mark.usefixtures("home")
def test_only_its_owner_can_read_the_secret():
    Settings().lake_secret()
    assert stat.S_IMODE(Path(".smartdrive/secret").stat().st_mode) == 0o600


_ASK = """
import sys
from pathlib import Path
from smartdrive_dagster.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    print(Settings(secret_file=Path(f"homes/{number}/secret")).lake_secret().decode())
"""


def test_processes_that_start_at_once_get_the_same_secret(home):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    first, *others = [child.communicate(timeout=60)[0].split() for child in children]
    assert len(set(first)) == 100
    assert others == [first, first]
    assert {path.name for path in (home / "homes").glob("*/*")} == {"secret"}


def test_a_lake_that_lost_its_secret_gets_no_new_one(home):
    (home / "lake/silver").mkdir(parents=True)
    with pytest.raises(SecretMissingError, match="set SMARTDRIVE_SECRET or restore"):
        Settings().lake_secret()
    assert not (home / ".smartdrive/secret").exists()


@pytest.mark.usefixtures("home")
def test_a_lake_on_s3_never_gets_a_secret_of_this_machine(monkeypatch):
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", "s3://bucket/lake")
    with pytest.raises(SecretMissingError, match="SMARTDRIVE_SECRET"):
        Settings().lake_secret()
    assert not Path(".smartdrive/secret").exists()


@pytest.mark.usefixtures("home")
def test_the_environments_secret_comes_before_the_files(monkeypatch):
    Settings().lake_secret()
    monkeypatch.setenv("SMARTDRIVE_SECRET", f" {LONG}\n")
    assert Settings().lake_secret() == LONG.encode()


@pytest.mark.parametrize("short", ["", " " * 40, LONG[:-1]])
@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_short_secret_is_refused(home, monkeypatch, source, short):
    if source == "environment":
        monkeypatch.setenv("SMARTDRIVE_SECRET", short)
    else:
        (home / ".smartdrive").mkdir()
        (home / ".smartdrive/secret").write_text(short)
    with pytest.raises(SecretMissingError, match="shorter than 16 bytes") as caught:
        Settings().lake_secret()
    assert LONG[:-1] not in str(caught.value)


@pytest.mark.usefixtures("home")
def test_a_secret_file_with_a_line_feed_is_the_same_secret():
    Path(".smartdrive").mkdir()
    Path(".smartdrive/secret").write_text(f"{LONG}\n")
    assert Settings().lake_secret() == LONG.encode()


def test_neither_repr_nor_errors_show_the_secret(monkeypatch):
    monkeypatch.setenv("SMARTDRIVE_SECRET", LONG)
    assert LONG not in repr(Settings())
    assert LONG not in str(Settings())
    monkeypatch.setenv("SMARTDRIVE_TIME_ZONE", "Mars/Olympus")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert LONG not in str(caught.value)


@pytest.mark.usefixtures("home")
def test_a_draft_left_by_a_process_of_the_same_number_does_no_harm():
    ask = (
        "import os; from pathlib import Path; from smartdrive_dagster.settings import Settings;"
        "Path('.smartdrive').mkdir(); Path(f'.smartdrive/secret.{os.getpid()}').write_text('half');"
        "print(len(Settings().lake_secret()))"
    )
    child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert (child.stdout.strip(), child.stderr[-300:]) == ("64", "")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_a_known_time_zone_is_accepted(monkeypatch, zone):
    monkeypatch.setenv("SMARTDRIVE_TIME_ZONE", zone)
    assert Settings().time_zone == zone


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", "é", "GMT+2h"]
)
def test_an_unknown_time_zone_is_refused_with_a_hint(zone):
    with pytest.raises(ValidationError, match="for example Europe/Berlin"):
        Settings(time_zone=zone)


@pytest.mark.parametrize("gap", ["0", "-1", "86401", "NaN", "soon"])
def test_a_trip_gap_that_makes_no_sense_is_refused(monkeypatch, gap):
    monkeypatch.setenv("SMARTDRIVE_TRIP_GAP_S", gap)
    with pytest.raises(ValidationError, match="trip_gap_s"):
        Settings()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lake_url = "elsewhere"


@pytest.mark.parametrize("place", ["gs://bucket/lake", "http://host/lake", "per%20cent", "br[a]cket", "what?"])
def test_a_place_that_cannot_hold_a_lake_is_refused_with_the_reason(place):
    with pytest.raises(ValidationError, match=r"neither a local path nor|cannot hold a lake"):
        Settings(lake_url=place)


@pytest.mark.usefixtures("home")
def test_a_lake_on_s3_may_have_a_bucket_for_each_layer(monkeypatch):
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", "s3://fleet-123-{layer}/lake")
    assert Settings().lake_url == "s3://fleet-123-{layer}/lake"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("LAKE_URL", "s3://fleet-{tier}/lake"),
        ("LAKE_URL", "s3://fleet-{layer/lake"),
        ("LANDING_URL", "s3://fleet-{layer}"),
        ("STATE_URL", "s3://fleet-{layer}/state"),
    ],
)
def test_another_placeholder_is_refused(monkeypatch, name, url):
    monkeypatch.setenv(f"SMARTDRIVE_{name}", url)
    with pytest.raises(ValidationError, match="placeholder"):
        Settings()
