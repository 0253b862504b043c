"""Dagster's instance for ECS and the database's logins, on a real PostgreSQL; ECS itself is an emulator.

A daemon that lives as on ECS starts a run as a task; what the task would have run is then run here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from smartdrive_api import embedded
from smartdrive_api.database import connect
from smartdrive_api.migrations import upgrade

from api.tests.conftest import copied, fresh_data, open_directory  # noqa: F401 - fixtures
from tests.object_store import object_store

ROOT = Path(__file__).parents[2]
LOGINS = ("api", "publisher", "dagster")
LOCATION = """
import dagster as dg


@dg.op
def say() -> None:
    print("said in a task")


@dg.job
def job() -> None:
    say()


@dg.sensor(job=job, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def ask(context: dg.SensorEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key="once")


defs = dg.Definitions(jobs=[job], sensors=[ask])
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(what: Callable[[], Any], seconds: float, process: subprocess.Popen[bytes] | None = None) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        assert process is None or process.poll() is None
        time.sleep(0.2)
    pytest.fail("it did not happen in time")


@pytest.fixture(scope="module")
def port(fresh_data: Path) -> Iterator[int]:  # noqa: F811 - the fixture
    """A PostgreSQL on the loopback, with passwords, the API's tables and all logins."""
    with open_directory() as directory:
        data = copied(fresh_data, directory / "pg")
        hba = data / "pg_hba.conf"
        hba.write_text("host all smartdrive 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        number = _free_port()
        command = [embedded.binaries() / "postgres", "-D", data, "-c", "listen_addresses=127.0.0.1", "-p", number]
        command += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        server = embedded._popen([str(part) for part in command], embedded._account(), subprocess.DEVNULL)
        try:
            _wait(lambda: _answers(number), 30, server)
            with psycopg.connect(_owner(number, "postgres"), autocommit=True) as connection:
                connection.execute("create database smartdrive")
            engine = connect(_owner(number, "smartdrive"))
            upgrade(engine)
            engine.dispose()
            make_logins(number)
            yield number
        finally:
            server.terminate()
            server.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(_owner(port, "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _owner(port: int, database: str) -> str:
    return f"postgresql://smartdrive@127.0.0.1:{port}/{database}"


def make_logins(port: int) -> None:
    passwords = [part for login in LOGINS for part in ("-v", f"{login}_password=of {login}")]
    script = ROOT / "iac/database/roles.sql"
    command = [str(embedded.binaries() / "psql"), "--no-psqlrc", "-q", *passwords, "-f", str(script)]
    done = subprocess.run([*command, _owner(port, "smartdrive")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def as_login(port: int, login: str, statement: str, database: str = "smartdrive") -> None:
    url = f"host=127.0.0.1 port={port} user={login} password='of {login}' dbname={database}"
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def test_each_login_may_do_its_own_and_nothing_else(port: int) -> None:
    make_logins(port)  # it may be repeated
    as_login(port, "api", "select count(*) from public.accounts")
    as_login(port, "api", "select count(*) from serving.publications")
    as_login(port, "publisher", "delete from serving.publications")
    as_login(port, "dagster", "create table mine ()", "dagster")
    refused = [
        ("api", "delete from serving.publications", "smartdrive"),
        ("publisher", "select count(*) from public.accounts", "smartdrive"),
        ("dagster", "select 1", "smartdrive"),
        ("api", "select 1", "dagster"),
    ]
    for login, statement, database in refused:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.OperationalError), match="denied"):
            as_login(port, login, statement, database)


def test_the_instance_on_ecs_is_the_one_at_home_but_for_where_things_lie() -> None:
    home = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    ecs = yaml.safe_load((ROOT / "containers/dagster-ecs.yaml").read_text())
    assert ecs.keys() - home.keys() == {"storage", "run_launcher", "compute_logs", "local_artifact_storage"}
    ecs["concurrency"]["runs"] = home["concurrency"]["runs"]
    ecs["run_monitoring"]["start_timeout_seconds"] = home["run_monitoring"]["start_timeout_seconds"]
    assert {key: ecs[key] for key in home} == home


@contextmanager
def task_metadata(cluster: str, task: str) -> Iterator[str]:
    """What ECS tells a container about itself, as its documentation shows it."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = {"Cluster": cluster, "TaskARN": task} if self.path.endswith("/task") else {"Name": "daemon"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v4"
    finally:
        server.shutdown()
        server.server_close()


def _definition(family: str, container: str) -> dict[str, Any]:
    return {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": container, "image": "an-image", "memory": 512}],
    }


@pytest.mark.nightly
def test_a_daemon_starts_a_run_as_a_task_and_the_task_ends_well(port: int, tmp_path: Path) -> None:
    home, location = tmp_path / "home", tmp_path / "location.py"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "containers/dagster-ecs.yaml").read_text())
    location.write_text(LOCATION)
    with object_store(tmp_path / "aws"):
        import boto3

        ecs, ec2 = boto3.client("ecs"), boto3.client("ec2")
        ecs.create_cluster(clusterName="smartdrive-test")
        for family, name in (("smartdrive-test-run", "run"), ("smartdrive-test-daemon", "daemon")):
            ecs.register_task_definition(**_definition(family, name))
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}
        (own,) = ecs.run_task(
            cluster="smartdrive-test",
            taskDefinition="smartdrive-test-daemon",
            launchType="FARGATE",
            networkConfiguration=network,
        )["tasks"]
        with task_metadata(own["clusterArn"], own["taskArn"]) as uri:
            environment = os.environ | {
                "DAGSTER_HOME": str(home),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "DAGSTER_POSTGRES_HOST": "127.0.0.1",
                "DAGSTER_POSTGRES_PORT": str(port),
                "DAGSTER_POSTGRES_PASSWORD": "of dagster",
                "SMARTDRIVE_RUN_TASK": "smartdrive-test-run",
                "ECS_CONTAINER_METADATA_URI_V4": uri,
            }
            with (tmp_path / "daemon.log").open("wb") as log:
                command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(location)]
                daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                try:
                    (started,) = _wait(lambda: _tasks_of_runs(ecs), 180, daemon)
                finally:
                    daemon.terminate()
                    daemon.wait(timeout=30)
        details = {one["name"]: one["value"] for one in started["attachments"][0]["details"]}
        assert details["subnetId"] == subnet
        (override,) = started["overrides"]["containerOverrides"]
        assert override["name"] == "run"
        assert override["command"][:3] == ["dagster", "api", "execute_run"]
        assert len(json.dumps(started["overrides"])) < 8192  # all that ECS takes
        done = subprocess.run(
            [sys.executable, "-m", *override["command"]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "said in a task" in done.stdout  # CloudWatch has it, metrics too
    with psycopg.connect(_owner(port, "dagster")) as connection:
        assert connection.execute("select status from runs").fetchall() == [("SUCCESS",)]
    assert sorted(path.name for path in home.rglob("*")) == ["dagster.yaml"]  # a read-only root bears it


def _tasks_of_runs(ecs: Any) -> list[dict[str, Any]]:
    arns = ecs.list_tasks(cluster="smartdrive-test", family="smartdrive-test-run")["taskArns"]
    return list(ecs.describe_tasks(cluster="smartdrive-test", tasks=arns)["tasks"]) if arns else []
