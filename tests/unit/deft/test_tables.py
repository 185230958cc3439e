"""Tables of a run: what helped is what was mined for questions that are right now."""

from collections.abc import Callable

from tao_skill_bank.deft import tables
from tao_skill_bank.deft.rounds import Loop
from tao_skill_bank.workflows.log import Event
from tao_skill_bank.workflows.standing import Standing


def rows_of(found: Standing) -> dict[str, list[tuple[str, ...]]]:
    return {table.title: list(table.rows) for table in tables.of(found, Loop.of(found))}


def test_only_questions_that_were_fixed_count_for_a_clip(
    round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    found = rows_of(standing_of(*round_of(1, "improved", "job-training-1")))
    assert found["Added clips nearest to what was fixed"] == [("good.mp4", "1", "0.1000")]


def test_every_round_has_its_figures_and_the_cost_its_limit(
    round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    events = [*round_of(1, "improved", "job-training-1"), *round_of(2, "no_gain", "job-training-1")]
    found = rows_of(standing_of(*events))
    assert [row[0] for row in found["Rounds"]] == ["1", "2"]
    assert found["Rounds"][0][1:6] == ("4", "8", "28", "90.0%", "+50.0 (+40.0 to +60.0)")
    assert "the best so far stays" in found["Rounds"][1][-1]
    assert ("Hours of processes", "1.250", "4.0") in found["Cost"]


def test_the_answer_is_the_last_training_that_replaced_the_best(
    round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing]
) -> None:
    events = [*round_of(1, "improved", "job-training-1"), *round_of(2, "no_gain", "job-training-1")]
    loop = Loop.of(standing_of(*events))
    assert (loop.answer, len(loop.rounds)) == ("job-training-1", 2)
    assert loop.best_training is not None
    assert loop.best_training.iteration == 1


def test_files_that_are_gone_leave_their_rows_out(
    round_of: Callable[..., list[Event]], standing_of: Callable[..., Standing], tmp_path
) -> None:
    found = standing_of(*round_of(1, "improved", "job-training-1"))
    for path in (*tmp_path.glob("*.json*"),):
        path.unlink()
    assert "Added clips nearest to what was fixed" not in rows_of(found)
