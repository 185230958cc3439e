import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import build

LEFT_RIGHT = {"question": "Which way?", "choices": ["left", "right"]}


def problems(**overrides):
    skill = catalog.find("tao-label-videos")
    overrides = {"endpoint.url": "http://127.0.0.1:1/v1", "clips": "/clips", **overrides}
    try:
        build.build(skill, Request(skill.name, "label", overrides=overrides), {})
    except RequestError as error:
        return {problem.code: problem for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"steps": ["description", "questions"]}, "captions_missing"),
        ({"steps": ["questions"], "questions": [LEFT_RIGHT]}, "captions_missing"),
        ({"questions_per_clip": 0}, "nothing_to_ask"),
        ({"steps": ["captions"], "questions": [LEFT_RIGHT]}, "nothing_to_ask"),
        ({"steps": ["captions", "captions"]}, "named_twice"),
        ({"questions": [LEFT_RIGHT, LEFT_RIGHT]}, "named_twice"),
        ({"questions": [{"question": "Which?", "choices": ["one"]}]}, "invalid_choices"),
        ({"questions": [{"question": "<video> Which?"}]}, "invalid_question"),
        ({"second_pass.min_agreement": 1.0}, "agreement_not_measured"),
        ({"endpoint.url": "127.0.0.1:1/v1"}, "invalid_text"),
        ({"endpoint.allow_hosts": ["https://a.example"]}, "invalid_text"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_fix(overrides, code):
    found = problems(**overrides)
    if code != "invalid_text":
        assert set(found) == {code}
        return
    assert len(found) == 1
    assert all(problem.fix for problem in found.values())


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"steps": ["captions"]},
        {"steps": ["questions"], "questions": [LEFT_RIGHT], "questions_per_clip": 0},
        {"second_pass.min_agreement": 1.0, "second_pass.enable": True},
    ],
)
def test_what_is_sound_is_accepted(overrides):
    assert problems(**overrides) == {}
