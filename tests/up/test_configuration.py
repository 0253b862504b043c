"""What supervisord is given, read back as supervisord reads it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from supervisor.options import ServerOptions

from smartdrive_dagster.up.files import Files, StateError
from smartdrive_dagster.up.programs import Home, Plan, plan
from smartdrive_dagster.up.supervisord import configuration, workspace


def home(folder: Path) -> Home:
    return Home(folder / "certificates", folder / "broker", "127.0.0.1", "127.0.0.1", 8883, "lander", 3000, 60.0)


@pytest.fixture(params=["plain", "with space", "quote's", 'double"quote'])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    files = Files(tmp_path / request.param)
    files.logs.mkdir(parents=True)
    return files


def test_supervisord_reads_every_command_as_it_was_planned(files: Files) -> None:
    planned = plan(home(files.folder), files)
    files.configuration.write_text(configuration(planned, files))
    options = ServerOptions()
    options.realize(["-c", str(files.configuration)], doc="")
    read = {group.name: group.process_configs[0] for group in options.process_group_configs}
    commands = {name: options_of(process.command) for name, process in read.items()}
    assert {program.name: list(program.command) for program in planned.programs} == {
        name: command for name, command in commands.items() if name != "health"
    }
    priorities = [read[program.name].priority for program in planned.programs]
    assert priorities == sorted(set(priorities))
    assert max(priorities) < read["health"].priority
    assert {process.stdout_logfile for process in read.values()} == {str(files.log(name)) for name in read}


def options_of(command: str) -> list[str]:
    import shlex

    words = shlex.split(command)
    return words[words.index("--") + 1 :] if words[0] == "setpriv" else words


def test_the_prober_reads_the_plan_as_it_was_written(tmp_path: Path) -> None:
    planned = plan(home(tmp_path), Files(tmp_path))
    assert msgspec.json.decode(msgspec.json.encode(planned), type=Plan) == planned


def test_a_broker_elsewhere_is_watched_and_not_run(tmp_path: Path) -> None:
    elsewhere = Home(tmp_path, None, "broker.home", "127.0.0.1", 8883, "lander", 3000, 60.0)
    text = configuration(plan(elsewhere, Files(tmp_path)), Files(tmp_path))
    assert "[program:broker]" not in text
    assert "[program:lander]" in text


def test_no_secret_stands_in_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTDRIVE_SECRET", "nobody shall read this")
    planned = plan(home(tmp_path), Files(tmp_path))
    assert "nobody" not in configuration(planned, Files(tmp_path)) + msgspec.json.encode(planned).decode()


@pytest.mark.parametrize("name", ["a\nb", "a ;b", "100%(x)s"])
def test_a_path_that_no_configuration_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    files = Files(tmp_path / name)
    with pytest.raises(StateError):
        configuration(plan(home(tmp_path), files), files)


def test_the_workspace_leads_to_the_code_server(files: Files) -> None:
    import yaml

    (entry,) = yaml.safe_load(workspace(files))["load_from"]
    assert entry == {"grpc_server": {"socket": str(files.code_server), "location_name": "smartdrive"}}
