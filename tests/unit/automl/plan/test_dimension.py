import pytest

from tao_skill_bank.automl.plan.dimension import Dimension


def test_a_share_of_whole_numbers_is_rounded_down_and_never_above_half() -> None:
    rest = Dimension("rest", "share", 0, 1, of="rounds", integer=True, minimum=0, maximum=5)
    assert [rest.value(1.0, of) for of in (1, 2, 7, 40)] == [0, 1, 3, 5]
    assert rest.coordinate(2, of=8) == 0.5
    assert rest.coordinate(0, of=0) == 0.0


def test_a_choice_is_distinguished_from_a_number_that_equals_it() -> None:
    switch = Dimension("switch", "choice", choices=(False, True, 1, 2.5))
    assert [type(switch.value(choice)) for choice in (True, 1, 2.5)] == [bool, int, float]
    assert switch.coordinate(2) == 2.5
    assert switch.coordinate("other") is False


def test_what_is_no_number_is_nearest_to_the_lowest_coordinate() -> None:
    assert Dimension("rate", "float", 0.1, 1.0).coordinate(None) == 0.1
    assert Dimension("rank", "power", 2, 5).coordinate([8]) == 2
    assert Dimension("rank", "power", 2, 5).coordinate(-1) == 2


@pytest.mark.parametrize(
    ("dimension", "size"),
    [
        (Dimension("a", "int", 3, 7), 5),
        (Dimension("a", "power", 0, 8), 9),
        (Dimension("a", "choice", choices=("x", "y")), 2),
        (Dimension("a", "ratio", -2, 2, of="b"), 5),
        (Dimension("a", "float", 0.5, 0.5), 1),
        (Dimension("a", "float", 0.5, 0.6), None),
        (Dimension("a", "share", 0, 1, of="b"), None),
    ],
)
def test_a_dimension_knows_how_many_coordinates_it_has(dimension: Dimension, size: int | None) -> None:
    assert dimension.size == size


def test_a_ratio_of_numbers_that_are_no_powers_is_exact_within_its_bounds() -> None:
    gain = Dimension("gain", "ratio", -3, 3, of="width", ratio=0.75, minimum=0.5, maximum=10)
    assert [gain.value(step, 2) for step in (-3, 0, 1, 3)] == [0.5, 1.5, 3.0, 10]
    assert gain.coordinate(3.0, 2) == 1


def test_a_power_of_two_near_a_number_that_is_none_is_rounded_towards_the_requests_own_ratio() -> None:
    heads = Dimension("heads", "ratio", -2, 2, of="width", integer=True, power=True, minimum=1, maximum=64)
    assert [heads.value(step, 12) for step in range(-2, 3)] == [4, 8, 16, 16, 32]
