import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.contracts import Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build, model_key
from tao_skill_bank.spec.model_key import SPELLING

MODEL_SKILLS = [skill for skill in catalog.skills() if skill.runs_actions]
ACTIONS = [(skill, action) for skill in MODEL_SKILLS for action in skill.info.actions]
ABOUT_A_MODEL = [(skill, action) for skill, action in ACTIONS if skill.info.actions[action].inputs.model]
PATHS = sorted({str(skill.info.actions[action].inputs.model) for skill, action in ABOUT_A_MODEL})
SPELLINGS = sorted({SPELLING, *PATHS, *(path.rpartition(".")[2] for path in PATHS)})
REASON = catalog.find("tao-finetune-cosmos-reason")
TINY = "builtin://tiny-cosmos-reason"


def named(value: object) -> str:
    return value.name if isinstance(value, catalog.Skill) else str(value)


@pytest.fixture(autouse=True, scope="module")
def _one_catalog() -> Iterator[None]:
    """Read the skills once: they do not change here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalog, "skills", lambda: MODEL_SKILLS)
        yield


@cache
def schema_of(skill: catalog.Skill, action: str) -> dict[str, Any]:
    return skill.schema(action)


def spelled(skill: catalog.Skill, action: str, *pairs: tuple[str, object]) -> model_key.Spelled:
    return model_key.spelled(skill, action, pairs, schema_of(skill, action))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("skill", "action"), ABOUT_A_MODEL, ids=named)
def test_every_action_takes_every_spelling_of_the_bank_as_its_own_path(
    skill: catalog.Skill, action: str, spelling: str
) -> None:
    own = skill.info.actions[action].inputs.model
    found = spelled(skill, action, ("results_dir", "/r"), (spelling, "builtin://m"))
    assert (dict(found.pairs), found.problems) == ({"results_dir": "/r", own: "builtin://m"}, ())
    expected = [] if spelling in (own, SPELLING) else [("model_key_respelled", own)]
    assert [(finding.code, finding.path) for finding in found.findings] == expected


@pytest.mark.parametrize(("skill", "action"), ABOUT_A_MODEL, ids=named)
def test_no_spelling_hides_a_parameter_of_the_action(skill: catalog.Skill, action: str) -> None:
    own = skill.info.actions[action].inputs.model
    for path, _ in schemas.leaves(schema_of(skill, action)):
        assert path == own or dict(spelled(skill, action, (path, 1), (SPELLING, "m")).pairs)[path] == 1


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("skill", "action"), ABOUT_A_MODEL, ids=named)
def test_two_spellings_are_refused_with_overrides_that_resolve_it(
    skill: catalog.Skill, action: str, same: bool
) -> None:
    own = str(skill.info.actions[action].inputs.model)
    for first, second in itertools.combinations([SPELLING, own, *(set(SPELLINGS) - {SPELLING, own})], 2):
        given = ((first, "one"), (second, "one" if same else "two"))
        (problem,) = spelled(skill, action, *given).problems
        assert problem.code == "model_given_twice"
        assert (first in problem.message, second in problem.message) == (True, True)
        choices = [problem.fix_set] if same else problem.fix_choices
        kept = {tuple(spelled(skill, action, *given, *choice.items()).pairs) for choice in choices}
        assert kept == ({((own, "one"),)} if same else {((own, "one"),), ((own, "two"),)})


@pytest.mark.parametrize(("skill", "action"), [pair for pair in ACTIONS if pair not in ABOUT_A_MODEL], ids=named)
def test_an_action_that_is_about_no_model_says_so(skill: catalog.Skill, action: str) -> None:
    found = spelled(skill, action, (SPELLING, "m"))
    assert [problem.fix_set for problem in found.problems] == [{SPELLING: None}]
    assert not spelled(skill, action, (SPELLING, "m"), (SPELLING, None)).problems[1:]


def test_a_request_is_built_and_kept_under_the_path_of_the_action() -> None:
    overrides = {"model": {"model_path": TINY}, "generation": {"max_tokens": 8}}
    built = build.build(REASON, Request(REASON.name, "evaluate", datasets={"eval": "/d"}, overrides=overrides))
    assert nested.get(built.values, "model.model_name") == TINY
    assert "model_path" not in built.values["model"]
    assert built.overrides == {"generation.max_tokens": 8, "model.model_name": TINY}
    assert "model.model_name" in built.given


def test_overrides_in_the_actions_own_words_are_kept_as_they_are() -> None:
    overrides = {"model": {"model_name": TINY}, "generation": {"max_tokens": 8}}
    built = build.build(REASON, Request(REASON.name, "evaluate", datasets={"eval": "/d"}, overrides=overrides))
    assert built.overrides == overrides
    assert not [finding for finding in built.findings if finding.code == "model_key_respelled"]


def test_two_spellings_are_reported_with_the_other_problems() -> None:
    overrides = {"model_name_or_path": "a/b", "policy": {"model_name_or_path": "c/d"}, "train.epoch": 0}
    with pytest.raises(RequestError) as caught:
        build.build(REASON, Request(REASON.name, "train", datasets={"train": "/d", "eval": "/e"}, overrides=overrides))
    assert {problem.code for problem in caught.value.problems} >= {"model_given_twice", "invalid_minimum"}
