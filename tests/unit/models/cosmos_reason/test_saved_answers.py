"""What of an earlier run is used again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.questions import Question
from tao_skill_bank.models.cosmos_reason.saved_answers import SavedAnswers, ids
from tao_skill_bank.models.cosmos_reason.verdicts import Rule
from tao_skill_bank.training.config import load_spec

from .conftest import Document

QUESTIONS = [
    Question(index, f"r{index}", f"{index}.mp4", "Which way?", "left", identify=f"asked-{index}".lower)
    for index in (0, 3)
]
LEFT = Response("left")
RULE = Rule("its_directionality", "freeform")
Opened = Callable[..., SavedAnswers]


@pytest.fixture
def opened(evaluate_spec: Document, write_config: Callable[..., Path], tmp_path: Path) -> Opened:
    def run(weights: str = "aa", **changes: Any) -> SavedAnswers:
        document = {**evaluate_spec, **{name: evaluate_spec.get(name, {}) | new for name, new in changes.items()}}
        config = load_spec(EvaluateConfig, write_config(document))
        return SavedAnswers.open(tmp_path / "samples", config, RULE, {"model": weights})

    return run


def test_answers_of_the_same_run_are_read_back(opened: Opened) -> None:
    saved = opened()
    given = Response("It turns left.", is_cut=True, log_likelihoods={"left": -0.5})
    saved.write(QUESTIONS[0], given)
    assert opened().read(QUESTIONS) == {"0": given}
    assert json.loads((saved.folder / "0.json").read_text())["verdict"] == "cut"


@pytest.mark.parametrize(
    "content", ["", "{", '{"response": "left"}', "[1]", '"left"', "null", '{"response": 4}', "\xff"]
)
def test_a_file_that_is_half_written_or_something_else_is_not_an_answer(opened: Opened, content: str) -> None:
    saved = opened()
    saved.write(QUESTIONS[0], LEFT)
    (saved.folder / "0.json").write_bytes(content.encode("latin-1"))
    assert saved.read(QUESTIONS) == {}


def test_a_truncated_file_is_not_an_answer_at_any_length(opened: Opened) -> None:
    saved = opened()
    saved.write(QUESTIONS[0], LEFT)
    whole = (saved.folder / "0.json").read_bytes()
    for length in range(len(whole)):
        (saved.folder / "0.json").write_bytes(whole[:length])
        assert saved.read(QUESTIONS) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"model_name": "other"}},
        {"model": {"dtype": "bfloat16"}},
        {"vision": {"nframes": 8}},
        {"generation": {"max_tokens": 7}},
        {"generation": {"temperature": 0.5}},
        {"evaluation": {"engine": "vllm"}},
        {"evaluation": {"scoring": "choices"}},
        {"weights": "bb"},
    ],
)
def test_answers_of_another_model_or_of_other_settings_are_not_used(opened: Opened, changes: dict[str, Any]) -> None:
    opened().write(QUESTIONS[0], LEFT)
    assert opened(**changes).read(QUESTIONS) == {}


def test_settings_that_decide_no_answer_may_change(opened: Opened) -> None:
    opened().write(QUESTIONS[0], LEFT)
    later = opened(
        evaluation={"batch_size": 1, "num_processes": 4, "seed": 7}, generation={"max_retries": 0}, task={"type": ""}
    )
    assert later.read(QUESTIONS) == {"0": LEFT}


def test_how_an_answer_was_judged_does_not_matter(opened: Opened) -> None:
    saved = opened()
    saved.write(QUESTIONS[0], LEFT)
    file = saved.folder / "0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"correct": False, "verdict": "wrong", "gt": "right"}))
    assert saved.read([replace(QUESTIONS[0], truth="straight", record_id="renamed")]) == {"0": LEFT}


def test_an_answer_to_another_question_under_the_same_number_is_not_used(opened: Opened) -> None:
    saved = opened()
    saved.write(QUESTIONS[0], LEFT)
    assert saved.read([replace(QUESTIONS[0], identify="another".lower)]) == {}
    assert saved.read([replace(QUESTIONS[0], turn=1)]) == {}


def test_ids_are_unique() -> None:
    asked = [Question(0, "a", "", "?", "yes"), Question(1, "b", "", "?", "yes"), Question(2, "a", "", "?", "no")]
    assert ids(asked) == ["a#0", "b", "a#2"]
    assert ids([replace(asked[1], turn=turn) for turn in (1, 2)]) == ["b:1", "b:2"]
