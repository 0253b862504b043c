"""What a container of ours may not be: root, writable, unpinned, open to the network, or misspelt."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from smartdrive_api.settings import Settings as ApiSettings

from smartdrive_dagster.settings import Settings
from tests.containers.reading import OURS, ROOT, compose, stages

PINNED = re.compile(r"[\w./-]+(?::[\w.-]+)?@sha256:[0-9a-f]{64}")
SERVICES: dict[str, Any] = compose()["services"]
NOT_OURS = {"SMARTDRIVE_CODE_HOST"}  # containers/workspace.yaml reads it, by Dagster


def breaches(name: str, service: dict[str, Any]) -> list[str]:
    """How a service of compose breaks the rules."""
    found = []
    if service["image"] not in OURS and not PINNED.fullmatch(service["image"]):
        found.append("its image has no digest")
    if service.get("user", "").partition(":")[0] in {"", "0", "root"}:
        found.append("it runs as root")
    if service.get("read_only") is not True:
        found.append("its root can be written")
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        found.append("it keeps capabilities")
    if service.get("security_opt") != ["no-new-privileges:true"]:
        found.append("it may gain privileges")
    if "healthcheck" not in service:
        found.append("nobody looks whether it is well")
    elif not (service["healthcheck"].get("test") or service["restart"] == "no"):
        found.append("nobody looks whether it is well, though it goes on")
    admitted = {"8883:8883"} if name == "broker" else set()
    ports = (port for port in service.get("ports", ()) if port not in admitted)
    found += [f"port {port} is open to the network" for port in ports if not port.startswith("127.0.0.1:")]
    for variable, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|KEY", variable) and "/" not in str(value):
            found.append(f"{variable} holds a secret itself")
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_the_rules(name: str) -> None:
    assert breaches(name, SERVICES[name]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image": "postgres:17"},
        {"user": "0:0"},
        {"read_only": False},
        {"cap_add": ["NET_ADMIN"]},
        {"security_opt": []},
        {"healthcheck": {"disable": True}},
        {"ports": ["8000:8000"]},
        {"environment": {"SMARTDRIVE_SECRET": "x" * 32}},
    ],
)
def test_a_service_that_breaks_one_is_noticed(change: dict[str, Any]) -> None:
    assert len(breaches("api", SERVICES["api"] | change)) == 1


def test_every_variable_is_one_that_the_programs_read() -> None:
    known = {f"SMARTDRIVE_{field.upper()}" for field in Settings.model_fields} | NOT_OURS
    known |= {f"SMARTDRIVE_API_{field.upper()}" for field in ApiSettings.model_fields}
    named = {variable for service in SERVICES.values() for variable in service.get("environment", {})}
    ours = {variable for variable in named if variable.startswith("SMARTDRIVE_")}
    assert len(ours) > 10
    assert ours - known == set()


def test_every_secret_volume_and_dependency_is_declared() -> None:
    whole = compose()
    made = (ROOT / "containers/make-secrets").read_text()
    for name, service in SERVICES.items():
        assert set(service.get("secrets", ())) <= set(whole["secrets"]), name
        assert set(service["networks"]) <= set(whole["networks"]), name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source.startswith((".", "$")) or source in whole["volumes"], name
    for secret in whole["secrets"].values():
        assert Path(secret["file"]).name in made


@pytest.mark.parametrize("image", OURS)
def test_an_image_is_small_of_rights_and_says_what_it_is(image: str) -> None:
    build, final = stages(OURS[image])
    assert PINNED.fullmatch(build.base)
    assert PINNED.fullmatch(final.base)
    assert final.all("USER") == ["10001:10001"]
    assert "pip uninstall" in " ".join(final.all("RUN"))
    assert not re.search(r"pip install|gcc|build-essential|\bgit\b", " ".join(final.all("RUN")))
    assert final.exec_form("HEALTHCHECK")[0] == "python"
    label = " ".join(final.all("LABEL"))
    assert all(
        f"org.opencontainers.image.{key}=" in label for key in ("title", "description", "licenses", "revision")
    )
    installs = [step for step in " ".join(build.all("RUN")).split("&&") if "pip" in step and " install " in step]
    assert len(installs) == 3
    assert all("--require-hashes" in step or "--no-index" in step for step in installs)
    for step in (*build.all("COPY"), *final.all("COPY")):
        if not step.startswith("--from="):
            *sources, _ = step.replace("${DAGSTER_YAML}", "dagster.yaml").split()
            assert all((ROOT / source).exists() for source in sources), step


def test_what_is_sent_to_the_builder_holds_no_secret_and_no_state() -> None:
    first, *lines = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    admitted = {line[1:] for line in lines if line.startswith("!")}
    assert not admitted & {"secrets", "objects", ".smartdrive", "lake", "landing", ".git"}


def test_linters_find_nothing() -> None:
    beside = Path(sys.executable).parent
    for command in (
        ["hadolint", *map(str, OURS.values())],
        ["shellcheck", str(ROOT / "containers/make-secrets")],
    ):
        done = subprocess.run([beside / command[0], *command[1:]], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
