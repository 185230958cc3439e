import importlib.util
import json
import subprocess
import sys

import pytest
from search_simulator import RECIPE, SPACE, FakeDimension, FakeSpace, curve

from tao_skill_bank.automl.plan import algorithms
from tao_skill_bank.automl.plan.algorithms import Setup, gaussian, points
from tao_skill_bank.automl.plan.history import Start, Trial, TrialState
from tao_skill_bank.errors import BlockedError

SETUP = Setup(SPACE, max_trials=30, parallel=2)
needs_torch = pytest.mark.skipif(
    not (importlib.util.find_spec("torch") and importlib.util.find_spec("scipy")), reason="needs torch and scipy"
)


def history(count: int) -> list[Trial]:
    rng = SETUP.random("history")
    trials = [Trial(0, RECIPE, TrialState.COMPLETE, {9: curve(RECIPE, 9)})]
    for number in range(1, count):
        point = points.random_point(SPACE, rng)
        trials.append(Trial(number, point, TrialState.COMPLETE, {9: curve(point, 9)}))
    return trials


@needs_torch
@pytest.mark.slow
def test_the_child_process_proposes_what_the_model_proposes_here() -> None:
    trials = [*history(11), Trial(11, RECIPE, TrialState.RUNNING)]
    decision = algorithms.build("bfbo", SETUP).decide(trials)
    assert isinstance(decision, Start)
    assert decision.origin == "bfbo"
    here = gaussian.InProcess().propose(SETUP, trials, SETUP.random("propose", len(trials), 0))
    assert decision.coordinates == here.point


@needs_torch
@pytest.mark.slow
def test_the_process_that_decides_never_imports_torch() -> None:
    program = f"""
import json, sys
sys.path[:0] = {sys.path!r}
from search_simulator import *
from test_gaussian import SETUP, history
from tao_skill_bank.automl.plan import algorithms
for name in ("bayesian", "tpe", "cmaes", "bohb", "bfbo"):
    print(type(algorithms.build(name, SETUP).decide(history(12))).__name__)
print("torch" in sys.modules)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=__file__.rpartition("/")[0]
    )
    assert finished.stdout.split() == ["Start"] * 5 + ["False"]


@needs_torch
def test_the_model_finds_a_valley() -> None:
    space = FakeSpace((FakeDimension("x", "float", 0.0, 1.0), FakeDimension("k", "int", 0, 8)))
    setup = Setup(space, max_trials=12)
    trials = [
        Trial(number, {"x": number / 10, "k": number % 9}, TrialState.COMPLETE, {1: (number / 10 - 0.63) ** 2})
        for number in range(11)
    ]
    assert abs(gaussian.InProcess().model(setup, trials, seed=0)["x"] - 0.63) < 0.08


def test_a_child_that_fails_is_an_error_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "COMMAND", ("-c", "raise SystemExit('no module named torch')"))
    with pytest.raises(BlockedError, match="no module named torch") as error:
        gaussian.GaussianSampler().propose(SETUP, history(11), SETUP.random())
    assert "bayesian" in error.value.problems[0].fix


def test_a_child_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "COMMAND", ("-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(gaussian, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(BlockedError, match=r"did not answer in 0.2 s"):
        gaussian.GaussianSampler().propose(SETUP, history(11), SETUP.random())


def test_the_request_of_the_child_is_plain_json() -> None:
    text = gaussian.request(SETUP, [Trial(0, RECIPE, TrialState.PAUSED, {1: 0.5}, until=1)], 7)
    assert json.loads(text)["trials"][0]["state"] == "PAUSED"
