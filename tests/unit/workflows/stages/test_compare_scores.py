"""Scores are compared prompt by prompt, and a gain is above 0 whichever way is better."""

import json

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import compare_scores
from tao_skill_bank.workflows.stages.compare_scores import Arguments


@pytest.fixture
def compared(tmp_path):
    def run(before, after, **arguments):
        for name, scores in (("before", before), ("after", after)):
            (tmp_path / name).mkdir(exist_ok=True)
            entries = [
                {"name": prompt, "variant": "base", "seed": 0, "sampson": {"mean": score}}
                for prompt, score in scores.items()
            ]
            (tmp_path / name / "results.json").write_text(json.dumps(entries))
        folder = tmp_path / "stage"
        folder.mkdir(exist_ok=True)
        given = Arguments(str(tmp_path / "before"), str(tmp_path / "after"), "sampson", **arguments)
        outputs = compare_scores.run(given, stage.Context(folder, tmp_path, 1, lambda _: None))
        assert set(outputs) == set(compare_scores.OUTPUTS)
        assert json.loads(compare_scores.promised(given, folder)[0].read_text()) == outputs
        return outputs

    return run


def test_a_lower_error_is_a_gain_with_its_interval(compared):
    before = {f"p{number}": 2.0 + 0.1 * number for number in range(10)}
    after = {name: value - 1 - 0.01 * len(name) for name, value in before.items()} | {"p3": 2.2}
    outputs = compared(before, after, higher_is_better=False)
    assert outputs["gain"] == pytest.approx(outputs["before"] - outputs["after"])
    assert 0 < outputs["ci_low"] < outputs["gain"] < outputs["ci_high"]
    assert outputs["prompts"] == 10


def test_only_prompts_with_both_scores_count(compared):
    outputs = compared({"a": 1.0, "b": None, "c": 3.0}, {"a": 2.0, "b": 9.0, "d": 9.0})
    assert (outputs["prompts"], outputs["gain"], outputs["ci_low"]) == (1, 1.0, None)


def test_nothing_in_common_is_refused(compared):
    with pytest.raises(BlockedError) as caught:
        compared({"a": 1.0}, {"b": 1.0})
    assert caught.value.problems[0].code == "nothing_to_compare"
