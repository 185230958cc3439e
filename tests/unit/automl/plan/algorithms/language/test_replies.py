import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import search_spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from language_search import SPACE, VALUES, point_reply

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms.language import replies
from tao_skill_bank.automl.plan.algorithms.language.proposals import FIELDS
from tao_skill_bank.automl.plan.algorithms.language.replies import ReplyError
from tao_skill_bank.automl.plan.dimension import is_number
from tao_skill_bank.bank import catalog

POINT = replies.point(VALUES, SPACE)


@pytest.mark.parametrize(
    "frame",
    [
        "%s",
        "```json\n%s\n```",
        "```\n%s\n```",
        "Here it is:\n\n%s\n\nGood luck!",
        "<think>Perhaps {a: 1}? No.</think>\n%s",
    ],
)
def test_an_object_is_found_in_fences_between_sentences_and_behind_thoughts(frame: str) -> None:
    assert replies.document(frame % point_reply(), FIELDS)["values"] == VALUES


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no JSON object"),
        ("}{", "holds no JSON object"),
        ("[1, 2]", "holds no JSON object"),
        ('{"values": {}, "rationale": "a"} {"values": {}, "rationale": "b"}', "not one JSON object"),
        ('{"values": {"a": NaN}, "rationale": "a"}', "NaN is not JSON"),
        ('{"values": {"a": 1, "a": 2}, "rationale": "a"}', "a key occurs twice"),
        ('{"values": {"a": ' + "[" * 100_000 + "}", "not one JSON object"),
        (
            '{"value": {}, "rationale": "a"}',
            "There is no key 'value'. Did you mean 'values'? The key 'values' is missing.",
        ),
        (
            '{"values": [], "rationale": 3}',
            "'values' is []; it must be an object. 'rationale' is 3; it must be a text.",
        ),
        ('{"values": {}, "rationale": " "}', "'rationale' is empty."),
    ],
)
def test_what_is_no_such_object_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ReplyError) as caught:
        replies.document(text, FIELDS)
    assert complaint in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]":,0123456789.eE+-values rationale\\\n`nulltrue', max_size=80))
def test_any_text_is_an_object_with_these_keys_or_refused(text: str) -> None:
    refused = ""
    try:
        said = replies.document(text, FIELDS)
    except ReplyError as error:
        refused = str(error)
    assert refused or said.keys() == FIELDS.keys()


def test_values_become_coordinates_and_back() -> None:
    assert POINT["lora.r"] == 5
    assert POINT["lora.alpha"] == 0
    assert SPACE.values(POINT) == VALUES


def test_a_value_may_depend_on_one_that_the_request_pinned() -> None:
    space = replace(SPACE, dimensions=(SPACE["lora.alpha"],), pinned={"lora.r": 16})
    assert replies.point({"lora.alpha": 64}, space) == {"lora.alpha": 1}
    with pytest.raises(ReplyError, match=r"lora\.r \(fixed: 16\) times one of .* The nearest is 128\."):
        replies.point({"lora.alpha": 512}, space)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("train.lr", 2e-4, "from 1e-06 to 0.0001, best seen on a logarithmic scale. The nearest is 0.0001."),
        ("train.lr", "2e-5", 'is "2e-5"; it must be a number'),
        ("train.lr", True, "is true; it must be a number"),
        ("train.lr", None, "is null; it must be a number"),
        ("train.lr", [2e-5], "it must be a number"),
        ("train.lr", 10**400, "it must be a number"),
        ("lora.r", 0, "a power of two from 4 to 128"),
        ("lora.r", 256, "The nearest is 128."),
        ("lora.alpha", 100, "lora.r times one of 0.5, 1, 2, 4, 8, rounded to a power of two. The nearest is 128."),
        ("lora.alpha", 1e-320, "lora.r times one of"),
        ("train.decay", 5.5, "to half of train.epoch (fixed: 10). The nearest is 5."),
        ("train.schedule", "constant", 'is "constant"; it must be one of ["cosine", "linear"].'),
        ("train.schedule", {"a": 1}, "it must be one of"),
        ("train.packing", 1, "is 1; it must be one of [true, false]."),
    ],
)
def test_a_value_that_no_point_has_is_refused_with_what_would_do(name: str, value: Any, complaint: str) -> None:
    with pytest.raises(ReplyError) as caught:
        replies.point({**VALUES, name: value}, SPACE)
    assert str(caught.value).startswith(f"{name} is ")
    assert complaint in str(caught.value)


def test_missing_and_unknown_parameters_are_named_all_at_once() -> None:
    values = {**VALUES, "lora.rank": 8}
    del values["train.lr"]
    with pytest.raises(ReplyError) as caught:
        replies.point(values, SPACE)
    assert str(caught.value) == (
        "There is no parameter 'lora.rank'. Did you mean 'lora.r'? The value of train.lr is missing."
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*VALUES, "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=3,
        ),
    )
)
def test_whatever_a_model_says_is_a_point_of_the_space_or_refused(values: dict[str, Any]) -> None:
    refused = ""
    try:
        point = replies.point({**VALUES, **values}, SPACE)
    except ReplyError as error:
        refused = str(error)
    if not refused:
        assert SPACE.outside({**VALUES, **values}) == ()
        assert all(SPACE[name].clip(coordinate) == coordinate for name, coordinate in point.items())


def test_ranges_narrow_the_space_in_the_values_of_the_spec() -> None:
    ranges = {"train.lr": [1e-5, 5e-5], "lora.r": [5, 64], "train.schedule": ["linear"]}
    part = replies.narrowed(json.loads(json.dumps(ranges)), SPACE)
    assert (part["train.lr"].low, part["train.lr"].high) == (1e-5, 5e-5)
    assert (part["lora.r"].low, part["lora.r"].high) == (3, 6)
    assert part["train.schedule"].choices == ("linear",)
    assert part["train.packing"] == SPACE["train.packing"]


@pytest.mark.parametrize(
    ("ranges", "complaint"),
    [
        ({"train.lr": [1e-7, 1e-5]}, "is not a range inside it"),
        ({"train.lr": [5e-5, 1e-5]}, "is not a range inside it"),
        ({"train.lr": [1e-5]}, "is not [low, high]"),
        ({"train.lr": {"low": 1}}, "is not a list"),
        ({"lora.r": [0, 64]}, "holds no powers of two"),
        ({"lora.r": [33, 63]}, "is not a range inside it"),
        ({"lora.alpha": [8, 16]}, "its range follows from lora.r; leave it out"),
        ({"train.schedule": ["constant"]}, "names a choice that it does not have"),
        ({"train.lrr": [1e-5, 1e-5]}, "Did you mean 'train.lr'?"),
    ],
)
def test_ranges_outside_the_space_are_refused(ranges: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ReplyError) as caught:
        replies.narrowed(ranges, SPACE)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "name", [*(skill.name for skill in catalog.skills() if skill.runs_actions and skill.info.automl), "made-up"]
)
def test_values_that_a_skill_could_get_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    space = search_spaces.built(search_spaces.made_up(tmp_path) if name == "made-up" else name)
    rng = random.Random(5)
    for _ in range(300):
        values = space.values(points.random_point(space, rng))
        said = json.loads(json.dumps({dimension.name: values[dimension.name] for dimension in space.dimensions}))
        again = space.values(replies.point(said, space))
        assert {path: value for path, value in again.items() if not is_number(value)} == {
            path: value for path, value in values.items() if not is_number(value)
        }
        assert {path: value for path, value in again.items() if is_number(value)} == pytest.approx(
            {path: value for path, value in values.items() if is_number(value)}
        )
