from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_spaces import REASON, UNHURRIED, built, problems, recipe

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.errors import RequestError

LR, RANK, ALPHA = "train.optm_lr", "policy.lora.r", "policy.lora.lora_alpha"


def ranged(path: str, overrides: dict[str, Any] | None = None, **wanted: Any) -> Any:
    return built(overrides=overrides, automl={"ranges": {path: wanted}})[path]


def refused(path: str, overrides: dict[str, Any] | None = None, **wanted: Any) -> Any:
    (problem,) = problems(overrides=overrides, automl={"ranges": {path: wanted}})
    assert problem.path == f"automl.ranges.{path}"
    return problem


def test_a_range_narrows_what_is_searched_and_its_missing_end_stays() -> None:
    epochs = ranged("train.epoch", minimum=2, maximum=6)
    assert (epochs.kind, epochs.low, epochs.high) == ("int", 2, 6)
    assert (ranged("train.epoch", maximum=6).low, ranged("train.epoch", minimum=6).high) == (1, 20)
    rate = ranged(LR, maximum=1e-4)
    assert (rate.low, rate.high, rate.log) == (2e-6, 1e-4, True)


def test_a_range_widens_the_limits_around_the_requests_learning_rate_inside_the_schemas_bounds() -> None:
    rate = ranged(LR, minimum=1e-7, maximum=1e-3)
    assert (rate.low, rate.high) == (1e-7, 1e-3)
    problem = refused(LR, maximum=1.0)
    assert problem.code == "range_outside_schema"
    assert problem.message == f"automl.ranges.{LR}.maximum is 1; it must be at least 1e-07 and at most 0.001."


def test_a_range_of_alpha_replaces_the_limits_around_its_ratio() -> None:
    alpha = ranged(ALPHA, minimum=16, maximum=1024)
    assert (alpha.kind, alpha.low, alpha.high) == ("power", 4, 10)
    assert ranged(ALPHA, minimum=16).high == 10


def test_a_learning_rate_outside_the_schemas_search_bounds_is_searched_around_itself_towards_them() -> None:
    assert (built(overrides={LR: 3e-3})[LR].low, built(overrides={LR: 3e-3})[LR].high) == (3e-4, 3e-3)
    assert (built(overrides={LR: 1e-9})[LR].low, built(overrides={LR: 1e-9})[LR].high) == (1e-9, 1e-8)
    assert ranged(LR, {LR: 3e-3}, minimum=1e-4, maximum=3e-3).high == 3e-3


@pytest.mark.parametrize(
    ("path", "wanted", "part"),
    [
        ("train.epoch", {"maximum": 50}, "at least 1 and at most 20"),
        ("train.epoch", {"minimum": 0}, "at least 1 and at most 20"),
        (RANK, {"maximum": 512}, "at most 256"),
        (RANK, {"choices": [8, 512]}, "at most 256"),
        (RANK, {"choices": [8, 12]}, "not a power of two"),
        (RANK, {"choices": [8, 16.5]}, "whole numbers"),
        (RANK, {"choices": [8, "16"]}, "whole numbers"),
        (LR, {"minimum": 0}, "at least 1e-07"),
        ("train.optm_decay_type", {"choices": ["cosine", "step"]}, "'step'"),
        ("train.optm_decay_type", {"minimum": 1}, "certain values only"),
        ("train.train_batch_per_replica", {"minimum": 0, "maximum": 8}, "at least 1"),
        ("policy.lora.use_dora", {"choices": [True, 0]}, "0, which"),
    ],
)
def test_a_range_outside_the_schema_is_refused_with_what_is_allowed(path: str, wanted: Any, part: str) -> None:
    problem = refused(path, **wanted)
    assert problem.code == "range_outside_schema"
    assert part in problem.message
    assert problem.fix


def test_a_bound_that_nothing_may_reach_is_refused() -> None:
    (problem,) = problems(automl={"ranges": {"train.epsilon": {"minimum": 0, "maximum": 1}}})
    assert "must be above 0" in problem.message


def test_a_range_that_holds_no_value_is_refused() -> None:
    assert refused(RANK, minimum=9, maximum=15).code == "empty_range"
    assert refused("train.epoch", minimum=3.2, maximum=3.8).code == "empty_range"
    assert refused(LR, minimum=5e-4).code == "empty_range"


def test_a_range_of_one_value_pins_the_parameter_for_every_trial_but_the_recipes() -> None:
    found = built(automl={"ranges": {RANK: {"minimum": 30, "maximum": 33}, "train.epoch": {"choices": [4]}}})
    assert found.pinned == {RANK: 32, "train.epoch": 4}
    assert any(note.startswith(f"{RANK} is 32 in every trial") for note in found.notes)
    point = found.coordinates(recipe(catalog.find(REASON)).values)
    values = found.values(point)
    assert (values[RANK], values["train.epoch"]) == (32, 4)
    assert values[ALPHA] == 32, "alpha keeps the request's own ratio to the pinned rank"


def test_choices_of_numbers_are_in_order_and_of_enums_keep_the_schemas_weights() -> None:
    assert ranged(RANK, choices=[32, 8, 16.0]).choices == (8, 16, 32)
    decay = ranged("train.optm_decay_type", choices=["none", "linear"])
    assert (decay.choices, decay.weights) == (("none", "linear"), (0.4, 0.1))


def test_a_warm_up_is_at_most_half_of_the_trainings_epochs() -> None:
    found = built(automl={"add": ["train.optm_warmup_epochs"]})
    point = found.coordinates(recipe(catalog.find(REASON)).values)
    full = {**point, "train.epoch": 6, "train.optm_warmup_epochs": 1.0}
    assert found.values(full)["train.optm_warmup_epochs"] == 3.0
    fixed = built(overrides={"train.epoch": 1}, automl={"add": ["train.optm_warmup_epochs"]})
    assert fixed.fixed == {"train.epoch": 1}
    assert fixed.values({**fixed.coordinates(full), "train.optm_warmup_epochs": 1.0})["train.optm_warmup_epochs"] == 0.5


@pytest.mark.parametrize(("rank", "alpha"), [(8, 12), (24, 64), (16, 24), (12, 12)])
def test_powers_of_two_stay_within_the_limits_around_a_ratio_that_is_none(rank: int, alpha: int) -> None:
    found = built(overrides={RANK: rank, ALPHA: alpha}, automl={"add": [RANK]})
    own = recipe(catalog.find(REASON), {RANK: rank, ALPHA: alpha}).values
    seen = set()
    for exponent in range(2, 7):
        for step in range(int(found[ALPHA].low), int(found[ALPHA].high) + 1):
            values = found.values({**found.coordinates(own), RANK: exponent, ALPHA: step})
            assert values[ALPHA] & (values[ALPHA] - 1) == 0
            assert alpha / rank / 4 <= values[ALPHA] / values[RANK] <= alpha / rank * 4
            seen.add(values[ALPHA] / values[RANK])
    assert len(seen) >= 4


def test_alpha_takes_every_power_of_two_near_the_ratio_to_a_given_rank_that_is_none() -> None:
    own = {RANK: 12, ALPHA: 12}
    found = built(overrides=own)
    point = found.coordinates(recipe(catalog.find(REASON), own).values)
    steps = range(int(found[ALPHA].low), int(found[ALPHA].high) + 1)
    assert [found.values({**point, ALPHA: step})[ALPHA] for step in steps] == [4, 8, 16, 32]


NUMBERS = st.integers(-3, 2000) | st.floats(-1, 1e4, allow_nan=False)
WANTED = st.fixed_dictionaries({}, optional={"minimum": NUMBERS, "maximum": NUMBERS}) | st.fixed_dictionaries(
    {"choices": st.lists(NUMBERS | st.booleans() | st.sampled_from(["cosine", "none", True]), max_size=4)}
)
LEAVES = dict(schemas.leaves(catalog.find(REASON).schema("train")))
OPEN = [path for path, leaf in LEAVES.items() if leaf.get("automl_enabled") is not False]


@pytest.mark.slow
@UNHURRIED
@given(path=st.sampled_from(OPEN), wanted=WANTED, last=st.booleans())
def test_whatever_range_a_request_gives_is_refused_with_a_cure_or_leads_to_values_inside_it(
    path: str, wanted: dict[str, Any], last: bool
) -> None:
    found, refusals = None, ()
    try:
        found = built(automl={"ranges": {path: wanted}})
    except RequestError as error:
        refusals = error.problems
    assert all(problem.fix and problem.path.startswith("automl.") for problem in refusals)
    if found is None:
        return
    values = found.values(
        {
            dimension.name: (dimension.choices or (dimension.low, dimension.high))[-1 if last else 0]
            for dimension in found.dimensions
        }
    )
    assert wanted.get("minimum", values[path]) <= values[path] <= wanted.get("maximum", values[path])
    assert "choices" not in wanted or values[path] in wanted["choices"]
    assert jsonschema.Draft202012Validator(LEAVES[path]).is_valid(values[path])
