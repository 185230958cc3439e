from typing import Any, ClassVar, Literal

import jsonschema
import pytest

from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.parameters import Search, group, optional_group, parameter, spec_dataclass


@spec_dataclass
class Inner:
    exactly_one: ClassVar = ("a", "b")

    a: float | None = parameter(None, template=1.0, doc="First.", above=0, search=Search(1, 3), automl=True)
    b: int | None = parameter(None, doc="Second.", minimum=1)
    names: list[Literal["x", "y"]] = parameter(["x"], doc="Names.", min_length=1, automl=False)


@spec_dataclass
class Adapter:
    rank: int = parameter(8, doc="Rank.", minimum=1, search=Search(1, 64, math_cond="^ 2"), popular=True)


@spec_dataclass
class SampleConfig:
    """A sample."""

    path: str = parameter(doc="Required path.")
    inner: Inner = group(Inner, doc="Inner.")
    adapter: Adapter | None = optional_group(doc="Adapter.")
    absent: Adapter | None = parameter(None, doc="Absent unless given.")


SCHEMA = schemas.action_schema(SampleConfig, "sample", "train")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_references_are_inlined_and_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert "$ref" not in repr(SCHEMA)
    assert SCHEMA["properties"]["inner"]["properties"]["b"]["type"] == "integer"


def test_the_template_carries_optional_groups_and_leaves_out_what_has_no_default() -> None:
    assert SCHEMA["default"] == {"inner": {"a": 1.0, "names": ["x"]}, "adapter": {"rank": 8}}


def test_annotations_of_search_reach_the_schema() -> None:
    rank = SCHEMA["properties"]["adapter"]["properties"]["rank"]
    assert rank["search"] == {"minimum": 1, "maximum": 64, "math_cond": "^ 2"}
    assert rank["math_cond"] == "^ 2"
    assert SCHEMA["automl_default_parameters"] == ["inner.a"]
    assert set(SCHEMA["automl_disabled_parameters"]) == {"inner", "inner.names", "adapter"}
    assert SCHEMA["popular"] == ["adapter.rank", "absent.rank"]


@pytest.mark.parametrize(
    ("inner", "valid"), [({"a": 1}, True), ({"b": 2}, True), ({}, False), ({"a": 1, "b": 2}, False), ({"b": 0}, False)]
)
def test_exactly_one_and_bounds_are_said_in_json_schema(inner: dict[str, Any], valid: bool) -> None:
    assert VALIDATOR.is_valid({"path": "p", "inner": inner}) is valid


def test_unknown_keys_are_refused_at_every_depth() -> None:
    assert not VALIDATOR.is_valid({"path": "p", "inner": {"a": 1, "c": 2}})
    assert not VALIDATOR.is_valid({"path": "p", "inner": {"a": 1}, "other": 2})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("inner.a", "number > 0"),
        ("inner.names", 'list of one of "x", "y" of at least 1 item(s)'),
        ("path", "string"),
        ("adapter.rank", "integer >= 1"),
    ],
)
def test_an_expectation_is_said_in_words(path: str, words: str) -> None:
    leaf = schemas.at(SCHEMA, path)
    assert leaf is not None
    assert schemas.expectation(leaf) == words


def test_a_path_that_is_not_in_the_schema_has_no_subschema() -> None:
    assert schemas.at(SCHEMA, "inner.z") is None
    assert schemas.at(SCHEMA, "inner.a.deeper") is None
