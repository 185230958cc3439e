from search_spaces import built

RANK, ALPHA, WARM_UP = "policy.lora.r", "policy.lora.lora_alpha", "train.optm_warmup_epochs"


def test_a_rank_that_would_force_alpha_out_of_its_bounds_is_not_searched() -> None:
    found = built(overrides={RANK: 8, ALPHA: 256}, automl={"add": [RANK]})
    assert found[RANK].maximum == 128
    assert (
        f"{RANK} is searched from 1 to 128 only, so that {ALPHA} stays near the request's own ratio" in found.notes[0]
    )
    lowest = {dimension.name: (dimension.choices or (dimension.low,))[0] for dimension in found.dimensions}
    values = found.values({**lowest, RANK: 7, ALPHA: 2})
    assert (values[RANK], values[ALPHA]) == (128, 1024)


def test_a_rank_stays_near_the_requests_own_where_alpha_is_not_searched() -> None:
    found = built(automl={"exclude": [ALPHA]})
    assert (found[RANK].minimum, found[RANK].maximum) == (2, 32)
    assert f"{ALPHA}, which is not searched" in found.notes[0]


def test_a_range_of_the_request_is_not_narrowed_for_an_alpha_that_is_not_searched() -> None:
    found = built(automl={"exclude": [ALPHA], "ranges": {RANK: {"minimum": 1, "maximum": 256}}})
    assert (found[RANK].minimum, found[RANK].maximum) == (1, 256)


def test_choices_that_would_force_alpha_out_of_its_bounds_are_left_out() -> None:
    found = built(overrides={ALPHA: 256}, automl={"ranges": {RANK: {"choices": [8, 64, 256]}}})
    assert found[RANK].choices == (8, 64)


def test_epochs_are_at_least_twice_a_warm_up_that_is_not_searched() -> None:
    assert built(overrides={WARM_UP: 2.0})["train.epoch"].low == 4
    assert built(overrides={WARM_UP: 8.0})["train.epoch"].low == 10, "the request's own number of epochs stays inside"
    assert built(overrides={WARM_UP: 2.0}, automl={"add": [WARM_UP]})["train.epoch"].low == 1
