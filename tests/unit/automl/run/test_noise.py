"""Whether a search says that its gain is more than chance; from studies and run directories without a job."""

import re
from dataclasses import replace

import pytest
from report_runs import make_evaluation, write_lines
from search_trials import add_recipe, add_trial, make_search

from tao_skill_bank.automl.run import noise
from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.automl.run.trials import FINAL
from tao_skill_bank.bank.skill_info import AutomlEvaluation

pytestmark = pytest.mark.usefixtures("third_skill")


@pytest.fixture
def search(tmp_path):
    """A search whose recipe has the loss 0.8 and whose best trial has 0.6."""
    search = make_search(tmp_path / "run")
    add_recipe(search, 1.0, 0.8)
    add_trial(search, 2e-3, 4, 0.9, 0.6)
    return search


def gain(search):
    entries = search.storage.entries()
    return noise.gain(search, entries, best_of(entries))


def repeat(search, number, *losses):
    lines = [{"epoch": epoch, "val/avg_loss": loss} for epoch, loss in enumerate(losses, start=1)]
    write_lines(search.run_dir / f"{noise.AGAIN}_{number}" / "metrics.jsonl", lines)


@pytest.mark.parametrize(
    ("again", "is_real"), [([0.85], True), ([0.59], False), ([0.61, 0.95], False), ([0.75, 0.84], True)]
)
def test_a_gain_is_real_when_it_is_larger_than_the_difference_between_seeds_of_the_recipe(search, again, is_real):
    for number, loss in enumerate(again, start=1):
        repeat(search, number, 2.0, loss)
    found = gain(search)
    assert found.value == pytest.approx(0.2)
    assert found.is_real is is_real
    assert f"{len(again) + 1} seeds of the recipe" in found.text
    assert ("more than" if is_real else "within") in found.text


def test_a_gain_that_nothing_was_compared_with_is_not_called_real(search):
    found = gain(search)
    assert found.is_real is None
    assert "not known" in found.text
    assert "--automl repeats=1" in found.text


def test_a_repetition_that_wrote_no_score_counts_for_nothing(search):
    repeat(search, 1)
    assert gain(search).is_real is None


def test_the_recipe_as_the_best_has_no_gain(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search, 0.5)
    add_trial(search, 2e-3, 4, 0.9)
    assert gain(search) is None


def test_a_recipe_without_a_score_is_compared_with_nothing(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search)
    add_trial(search, 2e-3, 4, 0.9)
    assert gain(search) is None


def test_the_same_answers_of_both_checkpoints_are_no_gain_whatever_the_loss_says(search, tmp_path):
    for folder in (noise.RECIPE, FINAL):
        make_evaluation(search.run_dir / folder, tmp_path / "data", lambda index: index % 4 == 0)
    repeat(search, 1, 0.85)
    keys = replace(search.study.keys, evaluation=AutomlEvaluation("evaluate", "accuracy", "maximize"))
    found = gain(replace(search, study=replace(search.study, keys=keys)))
    assert (found.name, found.value, found.is_real) == ("accuracy", 0.0, False)
    assert "within the noise" in found.text


@pytest.mark.parametrize(("direction", "is_real"), [("maximize", True), ("minimize", False)])
def test_answers_of_both_checkpoints_to_the_same_questions_decide_before_seeds(search, tmp_path, direction, is_real):
    data = tmp_path / "data"
    make_evaluation(search.run_dir / noise.RECIPE, data, lambda index: index % 4 == 0)
    make_evaluation(search.run_dir / FINAL, data, lambda _: True)
    repeat(search, 1, 0.1)
    keys = replace(search.study.keys, evaluation=AutomlEvaluation("evaluate", "accuracy", direction))
    found = gain(replace(search, study=replace(search.study, keys=keys)))
    assert found.name == "accuracy"
    assert found.is_real is is_real
    assert found.low <= found.value <= found.high
    assert re.search(r"95 % interval .* paired questions", found.text)
    assert set(found.metrics) == {"gain/accuracy", "gain_low/accuracy", "gain_high/accuracy"}
