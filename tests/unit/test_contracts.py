from dataclasses import fields

import pytest

from tao_skill_bank.contracts import PlatformRequest, Request, from_json
from tao_skill_bank.errors import RequestError

VALID = {"skill": "tao-finetune-cosmos-reason", "action": "train"}
NAMES = [each.name for each in fields(Request)]
PLATFORM_NAMES = [each.name for each in fields(PlatformRequest)]


def problem_of(document):
    with pytest.raises(RequestError) as raised:
        from_json(Request, document, "request.json")
    (problem,) = raised.value.problems
    return problem


@pytest.mark.parametrize("name", [name for name in NAMES if name not in VALID])
def test_a_misspelt_field_is_named_with_the_one_that_was_meant(name):
    problem = problem_of({**VALID, name[:-2] + name[-1]: None})
    assert f"Did you mean '{name}'?" in problem.message
    assert problem.fix == f"Rename it to {name}."


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_so_is_one_of_a_group_within(name):
    problem = problem_of({**VALID, "platform": {"name": "local", f"{name}s": 1}})
    assert problem.path == f"platform.{name}s"
    assert f"Did you mean '{name}'?" in problem.message


def test_a_field_like_no_other_is_answered_with_those_that_exist():
    problem = problem_of({**VALID, "zzz": 1})
    assert problem.expected == NAMES
    assert all(name in problem.fix for name in NAMES)
