import math

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.contracts import PlatformRequest, Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build, proven_fixes

UNUSABLE = (math.inf, -math.inf, math.nan, 10**22, 1e22, 1e308)
ACTIONS = [(skill, action) for skill in catalog.skills() if skill.runs_actions for action in skill.info.actions]


def _refused_at(skill: str, action: str, **fields: object) -> set[str]:
    with pytest.raises(RequestError) as caught:
        build.build(catalog.find(skill), Request(skill, action, **fields))
    assert all(problem.message and problem.fix for problem in caught.value.problems)
    return {problem.path for problem in caught.value.problems}


@pytest.mark.parametrize("number", UNUSABLE)
@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=[f"{skill.name}-{action}" for skill, action in ACTIONS])
def test_every_parameter_of_every_action_refuses_a_number_that_cannot_run(skill, action, number, monkeypatch):
    monkeypatch.setattr(proven_fixes, "MAX_TRIED", 1)  # each fix that is tried builds a spec again
    paths = [path for path, _ in schemas.leaves(skill.schema(action))]
    for value, ends in ((number, [""]), ([1.0, number], ["", ".1"])):
        refused = _refused_at(skill.name, action, overrides=dict.fromkeys(paths, value))
        assert [path for path in paths if not {f"{path}{end}" for end in ends} & refused] == []


@pytest.mark.parametrize("number", UNUSABLE)
def test_no_option_of_a_platform_or_a_search_takes_a_number_that_cannot_run(number):
    skill, action = ACTIONS[0][0].name, ACTIONS[0][1]
    for options in ({"name": number}, {"name": {"deep": [number]}}):
        platform = PlatformRequest(options=options)
        refused = _refused_at(skill, action, platform=platform, automl=options, overrides={"unknown": options})
        ends = [path for path in refused if path.startswith(("platform.options.name", "automl.name"))]
        assert len(ends) == 2


@pytest.mark.parametrize("name", ["gpus", "nodes"])
def test_no_count_of_processes_is_beyond_what_can_run(name):
    skill, action = ACTIONS[0][0].name, ACTIONS[0][1]
    assert f"platform.{name}" in _refused_at(skill, action, platform=PlatformRequest(**{name: 10**22}))
