"""The page of a search, from studies without a job; test_ending has those of real searches."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from search_trials import add_recipe, add_trial, make_search

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run import page
from tao_skill_bank.bank.skill_info import AutomlEvaluation
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BlockedError

pytestmark = pytest.mark.usefixtures("third_skill")
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Collects the tags, addresses, alternative texts and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.alternatives, self.text = [], [], [], ""
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.words = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.text += "" if tag == "wbr" else " "
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        self.alternatives += [value for name, value in attrs if name == "alt"]

    def handle_data(self, data):
        self.text += data


def shown_page(search, state=State.RUNNING, message=""):
    return Page(page.write(search, search.run_dir / "report.html", state, message))


@pytest.fixture
def search(tmp_path):
    search = make_search(tmp_path / "run")
    add_recipe(search, 1.0, 0.8)
    add_trial(search, 2e-3, 4, 0.9, 0.6, adjusted="batch_size 4 became 2.", sampler={"rationale": f"Rates {EVIL} up."})
    add_trial(search, 5e-3, 3, 0.1, state=TrialState.FAILED, why="The loss is no number.")
    add_trial(search, 3e-3, 5, 0.7, state=TrialState.RUNNING)
    add_trial(search, 4e-3, 5, 0.9, 0.7, sampler={"phase": {"rationale": "Now the low ranks."}})
    return search


@pytest.mark.slow
def test_the_page_needs_nothing_from_outside_and_every_picture_has_a_text(search):
    shown = shown_page(search)
    assert "script" not in shown.tags
    assert "link" not in shown.tags
    assert all(address.startswith("data:image/png;base64,") for address in shown.addresses)
    assert shown.tags.count("img") == shown.tags.count("source") == len(shown.alternatives) == 3
    assert all(shown.alternatives)


@pytest.mark.slow
def test_the_page_tells_the_best_trial_and_what_it_gains_over_the_recipe(search):
    shown = shown_page(search, State.COMPLETE, "5 trials, the budget is spent.")
    assert "COMPLETE" in shown.words
    assert "5 trials, the budget is spent." in shown.words
    assert "0.6 val/avg_loss · trial 1, the best" in shown.words
    assert "-0.2 against the recipe's 0.8, -25.0%" in shown.words
    assert "5 of at most 10: 3 complete, 1 failed, 1 running" in shown.words
    assert re.search(r"lora\.r 1 to 64, powers of two 8 16", shown.words)


@pytest.mark.slow
def test_the_table_has_every_trial_with_what_became_of_it(search):
    shown = shown_page(search)
    assert re.search(r"0 recipe complete 0\.8 2 1 h 0 min recipe 8 0\.001 linear 16", shown.words)
    assert re.search(r"1 best complete 0\.6 2 1 h 0 min bayesian 16 0\.002 cosine 32", shown.words)
    assert "failed – 1 1 h 0 min bayesian" in shown.words
    assert "The loss is no number." in shown.words
    assert "batch_size 4 became 2." in shown.words
    assert "<q>Now the low ranks.</q>" in shown.html
    assert "<q>Rates &lt;script&gt;alert(1)&lt;/script&gt; up.</q>" in shown.html


@pytest.mark.slow
def test_the_best_request_is_written_and_shown(search):
    shown = shown_page(search)
    assert f"tao-skills run --request {search.run_dir}/best_request.yaml" in shown.words
    assert (search.run_dir / "best_request.yaml").read_text() in shown.text


def test_a_search_that_has_not_begun_makes_a_page(tmp_path):
    shown = shown_page(make_search(tmp_path / "run"), State.PENDING)
    assert "No trial has begun." in shown.words
    assert "0 of at most 10" in shown.words
    assert "Train the best spec" not in shown.words
    assert shown.words.count("Not drawn:") == 1


@pytest.mark.slow
def test_a_recipe_that_was_paused_earlier_is_reported_with_the_difference(tmp_path):
    search = make_search(tmp_path / "run", {"train.epoch": 9}, algorithm="asha")
    add_recipe(search, 1.0, state=TrialState.PAUSED)
    add_trial(search, 2e-3, 4, 0.9, 0.6, 0.5, state=TrialState.PAUSED)
    shown = shown_page(search)
    assert "against the recipe's 1, -50.0%; the recipe was paused after epoch 1" in shown.words


@pytest.mark.slow
def test_evaluations_before_and_after_are_shown(search):
    keys = replace(search.study.keys, evaluation=AutomlEvaluation("evaluate", "accuracy", "maximize"))
    search = replace(search, study=replace(search.study, keys=keys))
    for folder, accuracy in (("baseline", 0.5), ("final_evaluation", 0.75)):
        summary = {"metrics": {"accuracy": accuracy}}
        if folder == "baseline":
            finding = {"code": "one_class_answered", "severity": "warning", "message": "All say left.", "fix": "Look."}
            summary["findings"] = [finding]
        (search.run_dir / folder).mkdir()
        question = {"video_id": "a.mp4", "question": "?", "response": "left", "gt": "left"}
        verdicts = ["right", "right" if accuracy > 0.5 else "wrong"]
        entries = [{**question, "verdict": verdict} for verdict in verdicts]
        (search.run_dir / folder / "results.json").write_text(json.dumps(entries))
        (search.run_dir / folder / "metrics_summary.json").write_text(json.dumps(summary))
    shown = shown_page(search)
    assert "0.75 accuracy · evaluation of the best" in shown.words
    assert "+0.25 accuracy · against the baseline's 0.5" in shown.words
    assert "Warning The baseline: All say left. Look." in shown.words
    assert "1 newly right and 0 newly wrong of 2 questions; McNemar's exact test: p = 1.0000" in shown.words


def test_without_matplotlib_there_are_tables_and_what_to_install(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shown = shown_page(search)
    assert "img" not in shown.tags
    assert "pip install 'tao-skill-bank[automl]'" in shown.words
    assert "Best so far" in shown.words


@pytest.mark.slow
def test_a_page_that_cannot_be_written_is_one_clear_error(search):
    (search.run_dir / "file").write_text("")
    with pytest.raises(BlockedError, match="cannot be written"):
        page.write(search, search.run_dir / "file" / "report.html", State.RUNNING)
