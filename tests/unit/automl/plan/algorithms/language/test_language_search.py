"""A search that asks a language model, with real jobs of the local platform and a controller of its own process."""

import json

import pytest
from chat_server import serving
from language_search import question, trials_of

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.contracts import Request, State
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.planning import dispatch

pytest.importorskip("openai")
pytestmark = pytest.mark.usefixtures("third_skill")


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def planned(folder, url, **automl):
    endpoint = {"base_url": url, "model": "judge-1", "retries": 0, **automl.pop("endpoint", {})}
    chosen = {"algorithm": "llm", "endpoint": endpoint, "max_trials": 5, **automl}
    return dispatch.plan(Request("toy", "train", automl=chosen, results_dir=str(folder)))


def faster(body):
    """Answer with the recipe at a learning rate that grows from trial to trial."""
    trials = trials_of(body)
    values = {**trials[0]["values"]}
    values["train.optm_lr"] *= 1.3 ** len(trials)
    return json.dumps({"values": values, "rationale": f"faster than trial {len(trials) - 1}"})


@pytest.mark.slow
def test_a_language_model_searches_with_real_jobs(tmp_path):
    with serving(faster) as server:
        plan = planned(tmp_path / "run", server.url)
        assert server.requests == [], "a plan asks nothing"
        status = dispatch.run(plan).wait(120)
    assert status.state is State.COMPLETE, status.message
    entries = open_search(tmp_path / "run").storage.entries()
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 5
    assert [entry.trial.sampler["rationale"] for entry in entries[1:]] == [f"faster than trial {n}" for n in range(4)]
    rates = [entry.values["train.optm_lr"] for entry in entries[1:]]
    assert rates == sorted(rates)
    assert len(server.requests) == 4
    asked = question(server.requests[-1]["body"])
    assert "lower scores are better" in asked
    assert "Learning rate" in asked
    assert str(tmp_path) not in asked


@pytest.mark.slow
def test_an_endpoint_that_fails_ends_the_search_with_what_it_said_and_keeps_the_trials(tmp_path):
    with serving(lambda body: (500, b"out of memory", {}) if len(trials_of(body)) == 3 else faster(body)) as server:
        status = dispatch.run(planned(tmp_path / "run", server.url)).wait(120)
    assert status.state is State.ERROR
    assert "answered 500: out of memory" in status.message
    entries = open_search(tmp_path / "run").storage.entries()
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 3


def test_a_missing_key_blocks_the_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_LANGUAGE_KEY", raising=False)
    with pytest.raises(BlockedError) as caught:
        planned(tmp_path / "run", "http://127.0.0.1:1/v1", endpoint={"api_key_variable": "TEST_LANGUAGE_KEY"})
    assert caught.value.exit_code == 4
