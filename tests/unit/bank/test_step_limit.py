import math

import pytest

from tao_skill_bank.bank import step_limit
from tao_skill_bank.bank.step_limit import Length

PER_EPOCH = (1, 3, 7)


@pytest.mark.parametrize("per_epoch", PER_EPOCH)
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_steps_of_whole_epochs_are_those_epochs(epochs: int, per_epoch: int) -> None:
    by_epochs, by_steps = Length(epochs), Length(99, max_steps=epochs * per_epoch)
    assert list(by_epochs.ends(0, per_epoch)) == list(by_steps.ends(0, per_epoch))
    for name in ("last_epoch", "last_step", "scheduled_steps", "scheduled_epochs"):
        assert getattr(by_epochs, name)(per_epoch) == getattr(by_steps, name)(per_epoch), name


@pytest.mark.parametrize("per_epoch", PER_EPOCH)
@pytest.mark.parametrize("max_steps", range(1, 10))
def test_every_step_is_in_one_epoch_and_the_last_one_is_due_for_everything(max_steps: int, per_epoch: int) -> None:
    ends = list(Length(1, max_steps=max_steps).ends(0, per_epoch))
    assert sum(end.num_steps for end in ends) == max_steps
    assert [end.is_last for end in ends] == [False] * (len(ends) - 1) + [True]
    assert all(end.is_whole for end in ends[:-1])
    last = ends[-1]
    assert last.is_due(100)
    assert last.name == (f"epoch_{len(ends)}" if max_steps % per_epoch == 0 else f"step_{max_steps}")
    assert last.epochs_done == max_steps // per_epoch


def test_a_resumed_training_has_the_epochs_that_are_left() -> None:
    assert [(end.epoch, end.num_steps) for end in Length(1, max_steps=8).ends(1, 3)] == [(2, 3), (3, 2)]
    assert list(Length(1, max_steps=6).ends(2, 3)) == []
    assert [end.epoch for end in Length(4, stop=3).ends(1, 3)] == [2, 3]


def test_two_ends_of_a_training_are_refused_with_both_choices() -> None:
    rule = step_limit.rule("a.steps", "a.stop")
    problem = rule.check(5, 2)
    assert problem is not None
    assert list(problem.fix_choices) == [{"a.stop": None}, {"a.steps": None}]
    for choice in problem.fix_choices:
        values = {"a.steps": 5, "a.stop": 2, **choice}
        assert rule.check(*(values[path] for path in rule.reads)) is None


@pytest.mark.parametrize("per_epoch", [1, 7, 100, 12345])
@pytest.mark.parametrize("max_steps", [1, 5, 10, 99])
@pytest.mark.parametrize("epochs", [0.0, 0.3, 1.0, 20.0])
def test_a_warm_up_longer_than_the_steps_is_refused_with_one_that_fits(
    epochs: float, max_steps: int, per_epoch: int
) -> None:
    problem = step_limit.warm_up_problem("a.steps", max_steps, ("a.warm_up", epochs), per_epoch)
    assert (problem is not None) == (round(epochs * per_epoch) > max_steps)
    if problem is not None:
        value = problem.fix_set["a.warm_up"]
        assert step_limit.warm_up_problem("a.steps", max_steps, ("a.warm_up", value), per_epoch) is None
        assert value <= 0.1 * max_steps / per_epoch
        longer = int(problem.fix.rpartition(" to ")[2].partition(" ")[0])
        assert step_limit.warm_up_problem("a.steps", longer, ("a.warm_up", epochs), per_epoch) is None
        assert math.isfinite(value)
