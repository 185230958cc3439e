import json

import faults
import pytest

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.nearest_values import MISSING, accepts, nearest

WORDS = {"type": "string", "minLength": 1}


@pytest.mark.parametrize(("skill", "action"), faults.ACTIONS, ids=faults.IDS)
def test_every_wrong_value_of_every_parameter_has_a_valid_one_next_to_it(skill, action):
    seen = set()
    for path, leaf in schemas.leaves(skill.schema(action)):
        if (text := json.dumps(leaf)) in seen:
            continue
        seen.add(text)
        for value in faults.wrong_values(leaf):
            found, why = nearest(leaf, value)
            if found is MISSING:
                assert "default" not in leaf, (path, value)
                assert leaf.get("type") != "integer" or not isinstance(value, (int, float))
            else:
                assert accepts(leaf, found), (path, value, found)
                assert why


@pytest.mark.parametrize(
    ("leaf", "value", "expected"),
    [
        ({"type": "integer", "minimum": 1}, 0, 1),
        ({"type": "integer", "minimum": 1}, -(10**30), 1),
        ({"type": "integer", "minimum": 1}, "12", 12),
        ({"type": "integer", "exclusiveMinimum": 0}, 0, 1),
        ({"type": "integer", "maximum": 8}, 8.6, 8),
        ({"type": "integer", "default": 3}, True, 3),
        ({"type": "number", "maximum": 1, "minimum": 0}, 1.5, 1),
        ({"type": "number", "exclusiveMinimum": 0, "default": 2.0}, 0, 2.0),
        ({"type": "number", "minimum": 0, "default": 0.5}, "many", 0.5),
        ({"type": "boolean", "default": True}, "fasle", False),
        ({"type": "boolean", "default": True}, "off", False),
        ({"enum": ["linear", "cosine"], "default": "linear"}, "cosin", "cosine"),
        ({"enum": ["linear", "cosine"], "default": "linear"}, "COSINE", "cosine"),
        ({"enum": ["linear", "cosine"], "default": "linear"}, 7, "linear"),
        ({"const": "sft"}, "SFT", "sft"),
        ({"type": "string"}, 7, "7"),
        ({"type": "string"}, True, "true"),
        ({"type": "string", "pattern": "^https?://"}, "localhost:8000/v1", "http://localhost:8000/v1"),
        ({"type": "array", "items": WORDS}, "word", ["word"]),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, ["a", "zzz"], ["a"]),
        (
            {"type": "array", "items": {"type": "number", "maximum": 1}, "minItems": 2, "default": [0.1, 0.2]},
            [3],
            [1, 0.2],
        ),
        ({"anyOf": [{"type": "boolean"}, {"const": "auto"}], "default": "auto"}, "atuo", "auto"),
        ({"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}, {"a": 0}, {"a": 1}),
    ],
)
def test_the_nearest_value_is_the_one_that_was_probably_meant(leaf, value, expected):
    found, _ = nearest(leaf, value)
    assert (found, type(found)) == (expected, type(expected))


def test_a_value_that_resembles_nothing_has_no_nearest_one_without_a_default():
    assert nearest({"type": "array", "items": WORDS}, [["a"]]) == (MISSING, "")
    assert nearest(WORDS, "") == (MISSING, "")
