"""The campaigns of `make faults-edge` in their quick form; the control has to lose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.tests.publisher.broker import require_mosquitto
from tests.faults.edge_faults import CAMPAIGNS, Result


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_the_road_holds_and_the_control_loses(name: str, tmp_path: Path) -> None:
    require_mosquitto()
    campaign = CAMPAIGNS[name]
    try:
        result = campaign.run(tmp_path / name, campaign.quick, lambda _text: None)
    except PermissionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert isinstance(result, Result)
    assert result.messages > 0
    assert result.is_good, result


def test_a_verdict_is_bad_when_anything_is_lost_reissued_twice_or_late() -> None:
    assert Result("good", trials=1, again_s=[9.9]).is_good
    assert not Result("lost", trials=1, lost=1).is_good
    assert not Result("reissued", trials=1, reissued=1).is_good
    assert not Result("twice", trials=1, duplicated=1).is_good
    assert not Result("late", trials=1, again_s=[10.1]).is_good
    assert not Result("a control that loses nothing", trials=1, must_fail=True).is_good
    assert Result("a control", trials=1, lost=1, must_fail=True).is_good
