import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import search_spaces
from hypothesis import given
from hypothesis import strategies as st
from search_spaces import UNHURRIED, built, recipe

from tao_skill_bank.automl.plan import space
from tao_skill_bank.automl.plan.dimension import Dimension
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Request, from_json, to_json
from tao_skill_bank.core import nested
from tao_skill_bank.spec import build

MODEL_SKILLS = [skill for skill in catalog.skills() if skill.runs_actions and skill.info.automl_enabled]
ALL_OF_REASON = {"add": ["train.optm_weight_decay", "train.optm_warmup_epochs"]}


@cache
def skills() -> list[Skill]:
    import tempfile

    return [*MODEL_SKILLS, search_spaces.made_up(Path(tempfile.mkdtemp()))]


def coordinate(dimension: Dimension) -> st.SearchStrategy[Any]:
    if dimension.kind == "choice":
        return st.sampled_from(dimension.choices)
    if dimension.kind in ("float", "share"):
        return st.floats(dimension.low, dimension.high)
    return st.integers(int(dimension.low), int(dimension.high))


def points(of: Space) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({dimension.name: coordinate(dimension) for dimension in of.dimensions})


def searches(skill: Skill) -> dict[str, Any]:
    """Return options that search everything that the schema lets be searched."""
    from tao_skill_bank.automl.plan.selection import searchable

    return {"add": list(searchable(skill.schema("train")))}


@st.composite
def searched_points(draw: st.DrawFn) -> tuple[Skill, Space, dict[str, Any], dict[str, Any]]:
    skill = draw(st.sampled_from(skills()))
    own = recipe(skill).values
    found = built(skill, automl=searches(skill) if draw(st.booleans()) else {})
    return skill, found, own, draw(points(found))


@pytest.mark.slow
@UNHURRIED
@given(searched_points())
def test_every_point_of_every_skill_gives_values_inside_the_schemas_bounds(case: Any) -> None:
    skill, found, _, point = case
    values = found.values(point)
    schema = skill.schema("train")
    assert set(schema["automl_default_parameters"]) - values.keys() <= {"custom.vision.fps"}
    for path, value in values.items():
        leaf = nested.get({"properties": schema["properties"]}, "properties." + path.replace(".", ".properties."))
        search = leaf["search"]
        assert search.get("minimum", value) <= value <= search.get("maximum", value), path
        if search.get("math_cond") == "^ 2":
            assert type(value) is int
            assert value & (value - 1) == 0, path
        if "enum" in leaf:
            assert value in leaf["enum"]
        if leaf.get("type") in ("integer", "boolean"):
            assert type(value).__name__ == leaf["type"][: len(type(value).__name__)]


@UNHURRIED
@given(searched_points())
def test_every_point_keeps_near_the_request_what_the_schema_says_should_be_near_it(case: Any) -> None:
    skill, found, own, point = case
    values = found.values(point)
    schema = skill.schema("train")
    for path, value in values.items():
        leaf = nested.get({"properties": schema["properties"]}, "properties." + path.replace(".", ".properties."))
        search, before = leaf["search"], nested.get(own, path)
        factor = search.get("around", 0) * (1 + 1e-9)
        if "ratio_to" in search:
            ratio = value / values[search["ratio_to"]]
            before = before / nested.get(own, search["ratio_to"])
            assert before / factor <= ratio <= before * factor, path
        elif factor:
            assert before / factor <= value <= before * factor, path
        if search.get("math_cond") == "/ 2":
            assert value <= values[leaf["depends_on"]] / 2


@UNHURRIED
@given(searched_points())
def test_a_point_is_found_again_from_its_values(case: Any) -> None:
    _, found, _, point = case
    values = found.values(point)
    again = found.coordinates(values)
    for dimension in found.dimensions:
        at = again[dimension.name]
        if dimension.kind == "share":  # all shares of nothing are the same; whole numbers lie between
            assert dimension.value(at, values[dimension.of or ""]) == pytest.approx(values[dimension.name], abs=1)
        elif dimension.kind == "ratio" and values[dimension.name] in (dimension.minimum, dimension.maximum):
            assert found.values(again)[dimension.name] == values[dimension.name]
        else:
            assert at == point[dimension.name], dimension.name
    assert found.outside(values) == () or any(dimension.kind == "share" for dimension in found.dimensions)


@pytest.mark.slow
@pytest.mark.parametrize("name", [skill.name for skill in MODEL_SKILLS])
def test_every_point_is_a_spec_that_the_ordinary_path_accepts(name: str) -> None:
    skill = catalog.find(name)
    own = recipe(skill)
    found = built(skill, automl=searches(skill))

    @UNHURRIED
    @given(points(found))
    def accepted(point: dict[str, Any]) -> None:
        values = found.values(point)
        assert space.check(skill, own.values, values) == []
        request = Request(skill.name, "train", datasets=search_spaces.DATASETS, overrides=values)
        assert build.build(skill, request).values == space.applied(own.values, values)

    accepted()


def test_a_trial_that_breaks_a_rule_between_fields_is_named() -> None:
    skill = catalog.find(search_spaces.REASON)
    own = recipe(skill).values
    found = space.check(skill, own, {"train.train_batch_per_replica": 6})
    assert [problem.code for problem in found] == ["batch_not_a_multiple"]
    assert space.check(skill, own, {"train.optm_lr": -1.0})[0].path == "train.optm_lr"


@pytest.mark.parametrize("index", range(len(MODEL_SKILLS) + 1))
def test_the_recipe_is_a_point_of_its_own_space(index: int) -> None:
    skill = skills()[index]
    own = recipe(skill).values
    found = built(skill)
    assert found.outside(own) == ()
    values = found.values(found.coordinates(own))
    assert {path: nested.get(own, path) for path in values} == pytest.approx(values)


@pytest.mark.parametrize("index", range(len(MODEL_SKILLS) + 1))
def test_a_space_survives_a_sealed_plan(index: int) -> None:
    found = built(skills()[index], automl=searches(skills()[index]))
    again = from_json(Space, json.loads(json.dumps(to_json(found))), "plan")
    assert again == found
    kinds = [[type(choice) for choice in dimension.choices] for dimension in again.dimensions]
    assert kinds == [[type(choice) for choice in dimension.choices] for dimension in found.dimensions]


def test_a_recipe_beside_the_space_becomes_its_nearest_point_and_is_said_to_be_outside() -> None:
    own = recipe(catalog.find(search_spaces.REASON), {"train.epoch": 40, "policy.lora.r": 24}).values
    found = built(overrides={"train.epoch": 40, "policy.lora.r": 24}, automl={"add": ["train.epoch", "policy.lora.r"]})
    at = found.coordinates(own)
    assert (at["train.epoch"], at["policy.lora.r"]) == (20, 5)
    assert set(found.outside(own)) >= {"train.epoch", "policy.lora.r"}


def test_a_coordinate_outside_its_dimension_counts_as_the_nearest_inside() -> None:
    found = built()
    point = found.coordinates(recipe(catalog.find(search_spaces.REASON)).values)
    values = found.values({**point, "train.epoch": 99, "policy.lora.r": -3.0, "train.optm_lr": 1.0})
    assert (values["train.epoch"], values["policy.lora.r"], values["train.optm_lr"]) == (20, 1, 2e-4)


def test_the_number_of_points_is_known_where_it_is_finite() -> None:
    grid = built(automl={"parameters": ["policy.lora.r", "policy.lora.lora_alpha", "train.optm_decay_type"]})
    assert grid.size == 9 * 5 * 4
    assert built().size is None


def test_each_dimension_comes_after_the_one_that_it_depends_on() -> None:
    for skill in skills():
        names = [dimension.name for dimension in built(skill, automl=searches(skill)).dimensions]
        for dimension in built(skill, automl=searches(skill)).dimensions:
            assert dimension.of is None or names.index(dimension.of) < names.index(dimension.name)
