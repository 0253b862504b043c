"""The campaigns of `make faults` in their quick form; each control has to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import Result
from tests.faults.lake_faults import CAMPAIGNS


@pytest.mark.campaign
@pytest.mark.timeout(900)  # on a machine with other things to do a daemon takes minutes
@pytest.mark.parametrize("name", [name for name, campaign in CAMPAIGNS.items() if campaign.quick])
def test_the_lake_holds_and_each_control_fails(name: str, tmp_path: Path) -> None:
    campaign = CAMPAIGNS[name]
    result = campaign.run(tmp_path / name, campaign.quick, lambda _text: None)
    assert result.is_good, result


def test_a_verdict_is_bad_when_anything_is_lost_doubled_or_broken_and_when_nothing_was_tried() -> None:
    assert Result("good", trials=1).is_good
    assert not Result("nothing tried").is_good
    assert not Result("lost", trials=1, lost=1).is_good
    assert not Result("doubled", trials=1, duplicated=1).is_good
    assert not Result("broken", trials=1, broken=["a run failed"]).is_good


def test_a_control_is_good_only_when_it_fails() -> None:
    assert not Result("a control that holds", trials=1, must_fail=True).is_good
    assert not Result("a control that tried nothing", must_fail=True).is_good
    assert Result("a control", trials=1, lost=1, must_fail=True).is_good
    assert Result("a control", trials=1, lost=1, must_fail=True).verdict == "fails, as it has to"
