"""The modules compute, observability and cicd: their own tests, and what they say held against code and docs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from smartdrive_api.aws import CloudWatchMetrics
from smartdrive_api.settings import Settings as ApiSettings

from smartdrive_dagster.metrics.catalogue import IN_THE_CLOUD
from smartdrive_dagster.metrics.emf import emf
from smartdrive_dagster.settings import Settings
from tests.docs.test_docs_commands import anchors

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs/how-to/respond-to-alarms.md"

# AWS's own metrics, as its documentation lists them for each namespace, with the dimensions that go together.
AWS_METRICS = {
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"): {"LoadBalancer"},
    ("AWS/ApplicationELB", "LambdaUserError"): {"TargetGroup", "LoadBalancer"},
    ("AWS/Firehose", "DeliveryToS3.DataFreshness"): {"DeliveryStreamName"},
    ("AWS/Firehose", "DeliveryToS3.Success"): {"DeliveryStreamName"},
    ("AWS/Lambda", "ConcurrentExecutions"): {"FunctionName"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "Throttles"): {"FunctionName"},
    ("AWS/RDS", "DatabaseConnections"): {"DBInstanceIdentifier"},
    ("AWS/RDS", "FreeStorageSpace"): {"DBInstanceIdentifier"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("ECS/ContainerInsights", "DesiredTaskCount"): {"ClusterName", "ServiceName"},
    ("ECS/ContainerInsights", "RunningTaskCount"): {"ClusterName", "ServiceName"},
}

Resources = dict[str, dict[str, Any]]
Metric = tuple[str, str, frozenset[tuple[str, str]]]


def _terraform(place: Path, *arguments: str) -> str:
    program = shutil.which("terraform")
    if program is None:
        missing = "terraform is not installed"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    environment = dict(os.environ)
    if not Path(environment.get("TF_CLI_CONFIG_FILE", "")).is_file():
        environment.pop("TF_CLI_CONFIG_FILE", None)
    command = [program, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n".join(_said(done.stdout)) + done.stderr
    return done.stdout


def initialised(module: str, folder: Path) -> Path:
    """A copy of a module, ready to be tested."""
    place = folder / module
    shutil.copytree(ROOT / "iac/modules" / module, place, ignore=shutil.ignore_patterns(".terraform*"))
    plugins = Path(os.environ.get("TF_PLUGIN_DIR", "/opt/tf-plugins"))
    mirror = [f"-plugin-dir={plugins}"] if plugins.is_dir() else []
    _terraform(place, "init", "-backend=false", "-input=false", *mirror)
    return place


def made(module: str, folder: Path) -> Resources:
    """Run a module's own tests; the resources that the first of them made, by address."""
    said = _terraform(initialised(module, folder), "test", "-json", "-verbose")
    state = json.loads(next(line for line in said.splitlines() if '"type":"test_state"' in line))
    return {one["address"]: one["values"] for one in state["test_state"]["root_module"]["resources"]}


def _said(output: str) -> Iterator[str]:
    for line in output.splitlines():
        if '"type":"diagnostic"' in line or not line.startswith("{"):
            yield line


@pytest.fixture(scope="module")
def observability(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    return made("observability", tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    return made("compute", tmp_path_factory.mktemp("terraform"))


def test_who_may_look_and_who_may_change_are_two(tmp_path: Path) -> None:
    said = _terraform(initialised("cicd", tmp_path), "test", "-no-color")
    assert "3 passed, 0 failed" in said


def alarms(resources: Resources) -> Resources:
    return {address: values for address, values in resources.items() if "_alarm." in address}


def watched(resources: Resources) -> dict[Metric, str]:
    """Each metric that an alarm or the dashboard looks at, with who does."""
    found: dict[Metric, str] = {}
    for address, alarm in alarms(resources).items():
        of_queries = [metric for query in alarm.get("metric_query") or [] for metric in query["metric"]]
        for metric in [alarm, *of_queries]:
            if metric.get("metric_name"):
                found[metric["namespace"], metric["metric_name"], frozenset(metric["dimensions"].items())] = (
                    address
                )
    widgets = json.loads(resources["aws_cloudwatch_dashboard.this"]["dashboard_body"])["widgets"]
    for widget in widgets:
        for metric in widget["properties"].get("metrics", []):
            namespace, name, *rest = (part for part in metric if isinstance(part, str))
            found[namespace, name, frozenset(zip(rest[::2], rest[1::2], strict=True))] = widget["properties"][
                "title"
            ]
    return found


def emitted(capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """The metrics that API and lake write, by the lines that they write."""
    capsys.readouterr()
    CloudWatchMetrics().count({"type": "http", "method": "GET"}, 200, 0.25)
    lines = [capsys.readouterr().out, emf(dict.fromkeys(IN_THE_CLOUD, 1.0), datetime.now(UTC))]
    found: set[Metric] = set()
    for line in map(json.loads, lines):
        for one in line["_aws"]["CloudWatchMetrics"]:
            for dimensions in one["Dimensions"]:
                values = frozenset((name, line[name]) for name in dimensions)
                found |= {(one["Namespace"], metric["Name"], values) for metric in one["Metrics"]}
    return found


def test_no_alarm_and_no_chart_waits_for_a_metric_that_nobody_writes(
    observability: Resources, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = emitted(capsys)
    seen = watched(observability)
    assert len([metric for metric in seen if metric[0] == "SmartDrive"]) > 8
    unknown = {
        (metric, by)
        for metric, by in seen.items()
        if metric not in ours and AWS_METRICS.get(metric[:2]) != {name for name, _ in metric[2]}
    }
    assert unknown == set()


def test_every_metric_that_the_lake_writes_can_be_seen(observability: Resources) -> None:
    seen = {name for _, name, _ in watched(observability)}
    assert {metric.name for metric in IN_THE_CLOUD} - seen == {"smartdrive_lake_newest_message_age_seconds"}


def test_every_alarm_leads_to_a_section_and_every_section_belongs_to_an_alarm(observability: Resources) -> None:
    page = RUNBOOK.read_text()
    sections = set(anchors("\n".join(re.findall(r"^### .+$", page, re.MULTILINE))))
    told = {address: alarm["alarm_description"] for address, alarm in alarms(observability).items()}
    assert len(told) > 15
    links = {
        address: re.search(r"https://\S+/respond-to-alarms\.md#(\S+)$", text) for address, text in told.items()
    }
    assert [address for address, link in links.items() if link is None] == []
    assert {link[1] for link in links.values() if link} == sections


def test_every_section_says_what_to_look_at_what_to_do_and_when_it_is_over() -> None:
    for section in RUNBOOK.read_text().split("\n### ")[1:]:
        for word in ("**Look first**", "**Do**", "**Over**"):
            assert word in section, section.splitlines()[0]


def container(compute: Resources, task: str) -> dict[str, Any]:
    definitions = json.loads(compute[f'aws_ecs_task_definition.this["{task}"]']["container_definitions"])
    assert len(definitions) == 1
    return dict(definitions[0])


def environment_of(compute: Resources, task: str) -> dict[str, str]:
    definition = container(compute, task)
    secrets = {one["name"]: "a secret of more than sixteen bytes" for one in definition["secrets"]}
    return {one["name"]: one["value"] for one in definition["environment"]} | secrets


def fields(prefix: str, settings: type[Any]) -> set[str]:
    return {f"{prefix}{name.upper()}" for name in settings.model_fields}


def test_what_the_function_and_the_operators_are_told_is_what_the_api_reads(
    compute: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = compute["aws_lambda_function.api"]["environment"][0]["variables"]
    for variables in (told, environment_of(compute, "operator")):
        ours = {name: value for name, value in variables.items() if name.startswith("SMARTDRIVE_")}
        assert ours.keys() <= fields("SMARTDRIVE_API_", ApiSettings)
        with monkeypatch.context() as patch:
            for name, value in ours.items():
                patch.setenv(name, value)
            settings = ApiSettings()
        assert settings.database_url is not None
        assert settings.landing_url == "s3://smartdrive-test-123456789012-landing"
        assert settings.issuer == "https://api.example.org"


@pytest.mark.parametrize("task", ["code", "run"])
def test_what_the_containers_are_told_is_what_the_lake_reads(
    compute: Resources, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = environment_of(compute, task)
    # Two are for the instance and the workspace, not for the lake.
    ours = {name for name in told if name.startswith("SMARTDRIVE_")} - {
        "SMARTDRIVE_RUN_TASK",
        "SMARTDRIVE_CODE_HOST",
    }
    assert ours <= fields("SMARTDRIVE_", Settings)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.lake_url.startswith("s3://")
    assert (settings.secret is not None) is (task == "run")
    assert settings.emf_metrics


def test_every_way_to_the_database_sees_who_it_is(compute: Resources) -> None:
    function = "/var/task/rds-ca.pem"
    api = compute["aws_lambda_function.api"]["environment"][0]["variables"]["SMARTDRIVE_API_DATABASE_URL"]
    rotated = json.loads(
        compute["aws_lambda_function.rotation"]["environment"][0]["variables"]["SMARTDRIVE_ROTATION_SECRETS"]
    )
    container = "/opt/smartdrive/rds-ca.pem"
    told = {task: environment_of(compute, task) for task in ("webserver", "daemon", "code", "run", "operator")}
    urls = [(url, container) for one in told.values() for url in one.values() if url.startswith("postgresql:")]
    urls += [(one["database_url"], function) for one in rotated.values()] + [(api, function)]
    assert len(urls) == 7
    for url, file in urls:
        assert url.partition("?")[2] == f"sslmode=verify-full&sslrootcert={file}"
    for task in ("webserver", "daemon", "code", "run"):
        assert (told[task]["PGSSLMODE"], told[task]["PGSSLROOTCERT"]) == ("verify-full", container)


def test_what_the_instance_asks_for_is_what_its_containers_are_told(compute: Resources) -> None:
    asked = set(re.findall(r"env: ([A-Z_]+)", (ROOT / "containers/dagster-ecs.yaml").read_text()))
    assert asked
    for task in ("webserver", "daemon", "code", "run"):
        assert asked <= environment_of(compute, task).keys()
