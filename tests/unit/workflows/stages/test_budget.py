"""Another round fits only if the longest one before, and what is reserved, fit into the hours that are left."""

import pytest

from tao_skill_bank.workflows import limits, log, stage
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.stages import budget
from tao_skill_bank.workflows.stages.budget import Arguments

HOURS = {"base": 1.0, "train-1": 2.0, "tuned-1": 0.5, "train-2": 1.0}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "hours_of", HOURS.__getitem__)
    for step, iteration, job in (("a", 0, "base"), ("t", 1, "train-1"), ("e", 1, "tuned-1"), ("t", 2, "train-2")):
        log.append(tmp_path, Event(step, "started", iteration, job=job))
        log.append(tmp_path, Event(step, "ok", iteration, job=job))
    folder = tmp_path / "budget"
    folder.mkdir()

    def run(iteration=3, **arguments):
        found = budget.run(Arguments(**arguments), stage.Context(folder, tmp_path, iteration, print))
        assert set(found) == set(budget.OUTPUTS)
        return found

    return run


def test_hours_of_jobs_are_counted_once_and_the_longest_round_is_expected_again(asked):
    assert asked(hours=7.0) == {"is_enough": True, "spent": 4.5, "round": 2.5}
    assert asked(hours=6.9)["is_enough"] is False
    assert asked(hours=7.0, reserved=0.1)["is_enough"] is False


def test_without_a_limit_there_is_always_enough_and_before_the_first_round_none_is_known(asked):
    assert asked()["is_enough"] is True
    assert asked(iteration=1, hours=4.5) == {"is_enough": True, "spent": 4.5, "round": 0.0}
