"""Each module on its own, against a provider that answers without AWS: format, `terraform test`, and its gate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.iac.terraform import IAC, Terraform, TerraformError, binary, copy_of

MODULES = ("network", "storage", "security", "database", "ingestion")  # the others: test_services.py
LEAST = 60


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary()
    return copy_of(tmp_path_factory.mktemp("modules"))


def test_everything_is_formatted(tmp_path: Path) -> None:
    Terraform(IAC, tmp_path)("fmt", "-check", "-recursive")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_does_what_its_tests_say(copied: Path, name: str) -> None:
    terraform = Terraform(copied / "modules" / name, copied)
    terraform.init()
    said = [json.loads(line) for line in terraform("test", "-json").splitlines()]
    (summary,) = [line["test_summary"] for line in said if line["type"] == "test_summary"]
    assert summary["passed"] >= 2
    assert (summary["failed"], summary["errored"], summary["skipped"]) == (0, 0, 0)


def test_the_modules_assert_much_and_refuse_something() -> None:
    texts = {path: path.read_text() for path in IAC.glob("modules/*/tests/*.tftest.hcl")}
    assert sum(len(re.findall(r"^\s*assert \{", text, re.MULTILINE)) for text in texts.values()) >= LEAST
    for name in MODULES:
        own = "".join(text for path, text in texts.items() if path.parts[-3] == name)
        assert "expect_failures" in own, name


@pytest.mark.parametrize("name", sorted(path.name for path in (IAC / "modules").iterdir()))
def test_a_module_is_whole_and_described(name: str) -> None:
    folder = IAC / "modules" / name
    for file in ("main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md"):
        assert (folder / file).is_file(), file
    for kind, needed in (("variable", ("description", "type")), ("output", ("description",))):
        text = (folder / f"{kind}s.tf").read_text()
        blocks = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)
        assert blocks
        for called, body in blocks:
            for attribute in needed:
                assert re.search(rf"^  {attribute} ", body, re.MULTILINE), f"{called} has no {attribute}"


def test_prod_is_valid_and_keeps_its_data(copied: Path) -> None:
    root = copied / "envs" / "prod"
    terraform = Terraform(root, copied)
    terraform.init()
    terraform("validate", "-no-color")
    assert "is_disposable = false" in (root / "main.tf").read_text()


def test_a_bucket_without_its_policy_is_noticed(copied: Path) -> None:
    folder = copied / "modules" / "storage"
    policies = folder / "policies.tf"
    whole = policies.read_text()
    # Gone from one bucket of six: that one would take requests without TLS.
    policies.write_text(
        whole.replace("for_each = local.layers", 'for_each = { for k, v in local.layers : k => v if k != "gold" }')
    )
    try:
        terraform = Terraform(folder, copied)
        terraform.init()
        with pytest.raises(TerraformError, match="refuses what comes without TLS"):
            terraform("test", "-no-color")
    finally:
        policies.write_text(whole)


def test_what_the_scanner_passes_over_has_a_reason() -> None:
    skips = [skip for path in IAC.rglob("*.tf") for skip in re.findall(r"checkov:skip=(.*)", path.read_text())]
    assert len(skips) > 20
    for skip in skips:
        assert re.fullmatch(r"CKV2?_AWS_\d+:.{30,}", skip)


@pytest.mark.parametrize("file", ["variables.tf", "outputs.tf", "versions.tf"])
def test_both_environments_are_told_and_tell_the_same(file: str) -> None:
    dev, prod = (IAC / "envs" / name / file for name in ("dev", "prod"))
    assert dev.read_text() == prod.read_text()
