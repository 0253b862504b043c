"""The estimate of costs: the page is what the inputs say, and the inputs are used."""

from __future__ import annotations

import importlib.util
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("estimate", ROOT / "iac/costs/estimate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["estimate"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


estimate = _loaded()


@pytest.fixture
def inputs() -> dict[str, Any]:
    return deepcopy(estimate.inputs())


def test_the_page_is_what_the_inputs_say(inputs: dict[str, Any]) -> None:
    assert estimate.PAGE.read_text() == estimate.page(inputs), "run python iac/costs/estimate.py"


def test_every_price_is_used_and_every_used_price_is_given(inputs: dict[str, Any]) -> None:
    used = {item.price for vehicles in (1, 10_000, 1_000_000) for item in estimate.items(vehicles, inputs)}
    assert used == inputs["prices"].keys()


def test_a_price_twice_as_high_costs_twice_as_much_of_its_item(inputs: dict[str, Any]) -> None:
    before = estimate.costs(10_000, inputs)["From the cars to landing"]
    part = 10_000 * 3600 * 30.4 / inputs["measured"]["samples_per_message"] * inputs["prices"]["iot_message"][0]
    inputs["prices"]["iot_message"][0] *= 2
    assert estimate.costs(10_000, inputs)["From the cars to landing"] - before == pytest.approx(part)


def test_more_vehicles_cost_more_and_each_of_them_less(inputs: dict[str, Any]) -> None:
    totals = [sum(estimate.costs(vehicles, inputs).values()) for vehicles in estimate.FLEETS]
    assert totals == sorted(totals)
    each = [total / vehicles for total, vehicles in zip(totals, estimate.FLEETS, strict=True)]
    assert each == sorted(each, reverse=True)


def test_whoever_reads_the_page_learns_that_nobody_has_checked_the_prices(inputs: dict[str, Any]) -> None:
    assert f"**{inputs['list']['checked']}**" in estimate.page(inputs)
    assert "nothing of this has run in an AWS account" in estimate.page(inputs)
