"""The page says first what changed, by how much and how sure, and never more than was measured."""

from collections.abc import Callable

from tao_skill_bank.deft import page
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.standing import Standing

from .conftest import GAIN

Make = Callable[..., Event]


def loop_event(reason: str) -> Event:
    return Event("rounds", "ok", outputs={"iterations": 1, "stopped_by": reason})


def test_the_gain_on_the_test_set_comes_first_with_its_interval(
    job_event: Make, round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    found = standing_of(
        job_event("baseline", metrics={"accuracy": 0.4}),
        *round_of(1, "target_met", "job-training-1"),
        loop_event("the target is met"),
        job_event("base on test", 0, ["wrong"] * 10 + ["right"] * 10, metrics={"accuracy": 0.35}),
        job_event("tuned on test", 0, ["right"] * 18 + ["wrong"] * 2, metrics={"accuracy": 0.85}),
        Event("gain on test", "ok", outputs=GAIN),
    )
    path, sentence = page.write(found)
    assert sentence == (
        "On the test set, on which nothing was chosen, the accuracy went from 35.0% to 85.0%: +50.0 points, 95 % "
        "interval +40.0 to +60.0, over 20 questions (12 fixed, 2 broken). The loop ended after 1 round: the target is "
        "met."
    )
    text = path.read_text()
    assert sentence in text
    for shown in ("base on test", "training, round 1", "tuned on test", "20 earlier training data, 8 mined"):
        assert shown in text
    assert "left answered as right" in text
    assert "good.mp4" in text
    assert "better, and the target is met" in text


def test_without_a_test_set_the_figure_is_called_optimistic(
    job_event: Make, round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    found = standing_of(
        job_event("baseline", 0, ["wrong"] * 20, metrics={"accuracy": 0.4}),
        *round_of(1, "improved", "job-training-1"),
        loop_event("at_most"),
    )
    _, sentence = page.write(found)
    assert "from 40.0% to 90.0%; this is optimistic" in sentence


def test_a_model_that_stays_is_said_to_stay(
    job_event: Make, round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    found = standing_of(
        job_event("baseline", 0, ["wrong"] * 20, metrics={"accuracy": 0.4}),
        *round_of(1, "regression", None),
        loop_event("the training made it worse, so the model before it stays"),
    )
    _, sentence = page.write(found)
    assert sentence.startswith("The model stays as it was. The loop ended after 1 round: the training made it worse")


def test_a_run_that_ended_before_any_round_says_why(job_event: Make, standing_of: Callable[..., Standing]) -> None:
    found = standing_of(job_event("baseline", metrics={"accuracy": 1.0}), summary="the model meets the target")
    assert page.write(found)[1] == (
        "The model stays as it was. The loop ended after 0 rounds: the model meets the target."
    )


def test_a_run_that_has_not_ended_claims_nothing(job_event: Make, standing_of: Callable[..., Standing]) -> None:
    found = standing_of(job_event("baseline", metrics={"accuracy": 0.4}), state="INTERRUPTED")
    _, sentence = page.write(found)
    assert "was interrupted and can be resumed" in sentence
    assert "%" not in sentence
