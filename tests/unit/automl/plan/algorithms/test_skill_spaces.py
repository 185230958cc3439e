"""Every algorithm on the search space of every model skill of the bank, and of one that nothing names."""

from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
import search_spaces
from search_simulator import Simulator

from tao_skill_bank.automl.plan import algorithms, space
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.history import Coordinate, TrialState
from tao_skill_bank.bank import catalog

SKILLS = [skill.name for skill in catalog.skills() if skill.runs_actions and skill.info.automl_enabled]
NAMES = [
    name
    for name, info in algorithms.INFO.items()
    if not info.refused and name not in ("bfbo", "grid", "llm", "hybrid", "autoresearch")
]


def score(point: Mapping[str, Coordinate], epoch: int) -> float:
    """Return something that depends on every coordinate, and falls with the epochs."""
    return (sum(len(str(coordinate)) for coordinate in point.values()) % 11) / 11 + 1 / epoch


@pytest.mark.slow
@pytest.mark.parametrize("skill", [*SKILLS, "made-up"])
@pytest.mark.parametrize("name", NAMES)
def test_every_trial_is_a_spec_that_the_schema_allows(name: str, skill: str, tmp_path: Path) -> None:
    found = search_spaces.made_up(tmp_path) if skill == "made-up" else catalog.find(skill)
    own = search_spaces.recipe(found)
    searched = search_spaces.built(found)
    setup = Setup(searched, max_trials=14, max_epochs=9, parallel=3)
    until = algorithms.recipe_until(name, setup)
    recipe = searched.coordinates(own.values)
    trials = Simulator(algorithms.build(name, setup), setup, until, score=score, recipe=recipe).run()
    assert any(trial.state is TrialState.COMPLETE for trial in trials)
    for trial in trials[1:]:
        values = searched.values(trial.coordinates)
        jsonschema.validate(space.applied(own.values, values), found.schema("train"))
        assert (
            skill == "made-up" or space.check(found, own.values, values) == []
        )  # its package, and rules, do not exist
