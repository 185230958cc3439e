import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_spaces import UNHURRIED

from tao_skill_bank.automl.plan.effective_batch import capped
from tao_skill_bank.bank.skill_info import AutomlKeys

KEYS = AutomlKeys(epochs="e", batch="t.batch", micro_batch="t.micro", accumulation="t.steps")


def spec(batch: int, micro: int = 1, steps: int = 1) -> dict[str, dict[str, int]]:
    return {"t": {"batch": batch, "micro": micro, "steps": steps}}


def test_a_batch_that_the_data_fill_is_left_alone() -> None:
    assert capped({"lr": 1.0, "t.batch": 8}, spec(32, 4), KEYS, 2, 16) == ({"lr": 1.0, "t.batch": 8}, "")


@pytest.mark.parametrize(
    ("given_spec", "ranks", "records", "changed"),
    [
        (spec(32, 4), 1, 10, {"t.batch": 8}),
        (spec(32, 4), 4, 100, {"t.batch": 24}),
        (spec(32, 4), 1, 3, {"t.batch": 3, "t.micro": 3}),
        (spec(2, 1, 8), 1, 8, {"t.batch": 1}),
        (spec(1, 1, 8), 1, 5, {"t.steps": 5}),
        (spec(6, 4), 1, 100, {"t.batch": 4}),
        (spec(32, 4), 8, 3, {"t.batch": 1, "t.micro": 1}),
    ],
)
def test_the_batch_is_lowered_first_and_stays_a_multiple_of_the_micro_batch(
    given_spec: dict[str, dict[str, int]], ranks: int, records: int, changed: dict[str, int]
) -> None:
    values, note = capped({"lr": 1.0}, given_spec, KEYS, ranks, records)
    assert values == {"lr": 1.0, **changed}
    assert all(f"{key} " in note and f"-> {value}" in note for key, value in changed.items())
    assert f"of {records} training samples on {ranks} rank(s)" in note


def test_a_trials_own_batch_counts_and_not_the_recipes() -> None:
    assert capped({"t.batch": 64}, spec(4, 4), KEYS, 1, 20)[0] == {"t.batch": 20}
    assert capped({"t.batch": 4}, spec(64, 4), KEYS, 1, 20) == ({"t.batch": 4}, "")


def test_a_skill_that_names_only_its_batch_is_capped_too() -> None:
    assert capped({}, spec(32), AutomlKeys(epochs="e", batch="t.batch"), 1, 10)[0] == {"t.batch": 10}


@UNHURRIED
@given(
    batch=st.integers(1, 512),
    micro=st.integers(1, 64),
    steps=st.integers(1, 64),
    ranks=st.integers(1, 64),
    records=st.integers(1, 10_000),
)
def test_the_effective_batch_never_exceeds_data_that_every_rank_has_some_of(
    batch: int, micro: int, steps: int, ranks: int, records: int
) -> None:
    values, note = capped({}, spec(batch, micro, steps), KEYS, ranks, records)
    new = {"t.batch": batch, "t.micro": micro, "t.steps": steps} | values
    assert new["t.batch"] % new["t.micro"] == 0
    assert min(new.values()) >= 1
    assert new["t.batch"] <= batch
    assert new["t.batch"] * new["t.steps"] * ranks <= max(records, ranks)
    assert bool(note) == bool(values)
