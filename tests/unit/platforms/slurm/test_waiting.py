import pytest

from tao_skill_bank.platforms.slurm import waiting


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "(Resources): until enough nodes are free."),
        ("Priority", "behind jobs of higher priority."),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-3]", "for a node that is down, drained or reserved."),
        ("QOSMaxJobsPerUserLimit", "a limit of its quality of service"),
        ("AssocGrpGRES", "a limit of your account"),
        ("PartitionTimeLimit", "lower --option time_limit."),
    ],
)
def test_a_reason_is_said_in_words_beside_its_own_name(reason, words):
    said = waiting.message("42", reason)
    assert said.startswith(f"Waits as Slurm job 42 ({reason})")
    assert words in said


@pytest.mark.parametrize(("reason", "said"), [("", "Waits as Slurm job 42."), ("New", "Waits as Slurm job 42 (New).")])
def test_an_unknown_reason_is_shown_as_it_is(reason, said):
    assert waiting.message("42", reason) == said
