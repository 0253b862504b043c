"""Dagster's instance for ECS and the database's logins, on a real PostgreSQL; ECS itself is an emulator.

A daemon that lives as on ECS starts a run as a task; what the task would have run is then run here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from api.tests.conftest import fresh_data  # noqa: F401 - the fixture
from tests.iac.conftest import REGION, emulator
from tests.iac.database import as_login, as_on_rds, make_logins, owners, wait
from tests.iac.programs import ON_ECS, missing, unused
from tests.iac.terraform import Terraform, copy_of

ROOT = Path(__file__).parents[2]
LOCATION = """
import dagster as dg


@dg.op
def say() -> None:
    print("said in a task")


@dg.job
def job() -> None:
    say()


@dg.sensor(job=job, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def ask(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    return dg.SensorResult([dg.RunRequest(run_key="lives"), dg.RunRequest(run_key="is stopped")])


defs = dg.Definitions(jobs=[job], sensors=[ask])
"""


@pytest.fixture(scope="module")
def port(fresh_data: Path) -> Iterator[int]:  # noqa: F811 - the fixture
    with as_on_rds(fresh_data) as number:
        yield number


def test_each_login_may_do_its_own_and_nothing_else(port: int) -> None:
    make_logins(port, passwords=False)  # it may be repeated, and leaves passwords as they are
    as_login(port, "api_a", "select count(*) from public.accounts")
    as_login(port, "api_a", "select count(*) from serving.publications")
    as_login(port, "publisher_a", "delete from serving.publications")
    as_login(port, "dagster_a", "create table mine ()", "dagster")
    assert as_login(port, "dagster_a", "select tableowner from pg_tables where tablename = 'mine'", "dagster") == [
        ("dagster",)
    ]
    refused = [
        ("api_a", "delete from serving.publications", "smartdrive"),
        ("publisher_a", "select count(*) from public.accounts", "smartdrive"),
        ("dagster_a", "select 1", "smartdrive"),
        ("api_a", "select 1", "dagster"),
        ("api_a", "alter role api_b password 'mine'", "smartdrive"),
        ("api_a", "create schema mine", "smartdrive"),
    ]
    for login, statement, database in refused:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.OperationalError), match="denied"):
            as_login(port, login, statement, database)
    with pytest.raises(psycopg.OperationalError, match=r"not permitted|password authentication failed"):
        as_login(port, "api", "select 1")


def test_the_instance_on_ecs_is_the_one_at_home_but_for_where_things_lie() -> None:
    home = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    ecs = yaml.safe_load((ROOT / "containers/dagster-ecs.yaml").read_text())
    assert ecs.keys() - home.keys() == {"run_launcher", "compute_logs", "local_artifact_storage"}
    assert (set(home.pop("storage")), set(ecs["storage"])) == ({"custom"}, {"postgres"})
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


STOP = """
import sys
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    (run,) = [run for run in instance.get_runs() if run.run_id in sys.argv[1]]
    assert instance.run_launcher.terminate(run.run_id)
"""
LOOK = """
import sys
from dagster import DagsterInstance
from dagster_aws.ecs.utils import get_task_logs
with DagsterInstance.get() as instance:
    (run,) = [run for run in instance.get_runs() if run.run_id in sys.argv[1]]
    launcher = instance.run_launcher
    launcher.check_run_worker_health(run)
    # It asks for the log of a container that failed; the emulator's tasks have none.
    print(get_task_logs(launcher.ecs, launcher.logs, sys.argv[2], sys.argv[3], "run"))
"""


def granted(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Statements of each role, as the module security makes them."""
    terraform = Terraform(copy_of(folder) / "modules" / "security", folder)
    terraform.init()
    said = terraform("test", "-json", "-verbose").splitlines()
    state = json.loads(next(line for line in said if '"type":"test_state"' in line))
    return {
        one["index"]: json.loads(one["values"]["policy"])["Statement"]
        for one in state["test_state"]["root_module"]["resources"]
        if one["type"] == "aws_iam_role_policy"
    }


def _definition(family: str, container: str) -> dict[str, Any]:
    return {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {
                "name": container,
                "image": "an-image",
                "memory": 512,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": family,
                        "awslogs-region": REGION,
                        "awslogs-stream-prefix": container,
                    },
                },
            }
        ],
    }


def _program(code: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, *(["-c", code] if code else ["-m"]), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_daemon_starts_runs_as_tasks_and_asks_no_more_than_its_role_allows(port: int, tmp_path: Path) -> None:
    home, location = tmp_path / "home", tmp_path / "location.py"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "containers/dagster-ecs.yaml").read_text())
    location.write_text(LOCATION)
    with emulator(tmp_path) as aws:
        ecs, ec2, logs = (aws.client(service) for service in ("ecs", "ec2", "logs"))
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
                "DAGSTER_POSTGRES_USER": "dagster_a",
                "DAGSTER_POSTGRES_PASSWORD": "of dagster",
                "SMARTDRIVE_RUN_TASK": "smartdrive-test-run",
                "ECS_CONTAINER_METADATA_URI_V4": uri,
            }
            as_daemon, as_webserver = (environment | aws.variables(key) for key in ("daemon", "webserver"))
            with (tmp_path / "daemon.log").open("wb") as log:
                command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(location)]
                daemon = subprocess.Popen(command, env=as_daemon, stdout=log, stderr=log)
                try:
                    started, stopped = wait(lambda: _both(_tasks_of_runs(ecs)), 180, daemon)
                finally:
                    daemon.terminate()
                    daemon.wait(timeout=30)
            told = json.dumps(stopped["overrides"])
            logs.create_log_group(logGroupName="smartdrive-test-run")
            stream = f"run/run/{stopped['taskArn'].rpartition('/')[2]}"
            logs.create_log_stream(logGroupName="smartdrive-test-run", logStreamName=stream)
            _program(STOP, as_webserver, told)
            looked = _program(LOOK, as_daemon, told, stopped["clusterArn"], stopped["taskArn"])
            assert looked.strip() == "[]"
        details = {one["name"]: one["value"] for one in started["attachments"][0]["details"]}
        assert details["subnetId"] == subnet
        (override,) = started["overrides"]["containerOverrides"]
        assert override["name"] == "run"
        assert override["command"][:3] == ["dagster", "api", "execute_run"]
        assert len(json.dumps(started["overrides"])) < 8192  # all that ECS takes
        said = _program("", environment, *override["command"])
        calls = {role: aws.calls(role) for role in ON_ECS}
    assert "said in a task" in said  # CloudWatch has it, metrics too
    with psycopg.connect(owners(port, "dagster")) as connection:
        statuses = connection.execute("select status from runs order by status").fetchall()
    assert statuses == [("CANCELING",), ("SUCCESS",)]
    assert sorted(path.name for path in home.rglob("*")) == ["dagster.yaml"]  # a read-only root bears it
    allowed = granted(tmp_path)
    for role, reasons in ON_ECS.items():
        assert missing(allowed[role], calls[role]) == set()
        assert unused(allowed[role], calls[role], reasons) == set()


def _both(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return tasks if len(tasks) == 2 else []


def _tasks_of_runs(ecs: Any) -> list[dict[str, Any]]:
    arns = ecs.list_tasks(cluster="smartdrive-test", family="smartdrive-test-run")["taskArns"]
    return list(ecs.describe_tasks(cluster="smartdrive-test", tasks=arns)["tasks"]) if arns else []
