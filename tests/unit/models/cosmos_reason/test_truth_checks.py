"""An evaluation that its truths do not fit is refused in the plan."""

from typing import Any

import pytest

from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.models.cosmos_reason import truth_checks

EVALUATION = {"limit": -1, "total_shard": 1, "turns": "last", "answer_type": "freeform", "scoring": "generate"}


def records(*answers: str) -> list[Probed]:
    return [Probed(index, {"question": "Which?", "answer": answer}, (), ()) for index, answer in enumerate(answers)]


def codes(answers: list[str], task: str = "", **evaluation: Any) -> list[str]:
    spec = {"task": {"type": task}, "evaluation": {**EVALUATION, **evaluation}}
    found = truth_checks.check(spec, records(*answers))
    assert all(finding.severity == "blocking" and finding.fix for finding in found)
    return [finding.code for finding in found]


@pytest.mark.parametrize("turns", ["last", "all"])
def test_a_truth_that_is_no_direction_blocks_the_task_of_directions(turns: str) -> None:
    assert codes(["left", "a car"], "its_directionality", turns=turns) == ["not_a_direction"]
    assert codes(["left", "straight"], "its_directionality", turns=turns) == []


def test_choices_of_free_text_block() -> None:
    assert codes(["yes", "a car"], scoring="choices") == ["no_choices"]
    assert codes(["yes", "no"], scoring="choices") == []
    assert codes(["yes", "a car"]) == []


@pytest.mark.parametrize("part", [{"limit": 1}, {"total_shard": 2}])
def test_records_that_may_be_left_out_block_nothing(part: dict[str, int]) -> None:
    assert codes(["yes", "a car"], scoring="choices", **part) == []


def test_a_record_that_cannot_be_read_is_left_to_the_check_of_records() -> None:
    assert codes([""], scoring="choices") == []


def test_other_actions_have_no_truths() -> None:
    assert truth_checks.check({"custom": {}}, records("a car")) == []
