"""Output of squeue, sacct, scontrol and sbatch in forms that nobody foresaw."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms.slurm import rows
from tao_skill_bank.platforms.slurm.platform import PLATFORM

JOB = "cosmos-rl-train-0123456789ab"
HEADER = "JOBID|STATE|REASON\n"
BANNERS = ["Welcome to login2!\n", "*** 3 days | until | maintenance ***\n\n", "\x1b[1mHello\x1b[0m\n  "]


@pytest.mark.parametrize("banner", ["", *BANNERS])
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("41", 41), ("41;cluster\n", 41), ("Submitted batch job 41\n", 41),
        ("Submitted batch job 41 on cluster a\n", 41),
        ("41\nHave a nice day.\n", 41),
        ("41\n41\n", 41), ("", None), ("no number", None), ("41\n42\n", None), ("job 41 queued\n", None),
    ],
)  # fmt: skip
def test_the_number_of_a_job_is_found_among_other_lines(banner, text, number):
    assert rows.submitted(f"{banner}{text}") == number


@pytest.mark.parametrize("banner", ["", *BANNERS])
def test_a_banner_before_the_rows_of_squeue_changes_nothing(banner):
    assert rows.queued(f"{banner}{HEADER}") is None
    found = rows.queued(f"{banner}{HEADER}7|PENDING|Priority\n")
    assert (found.number, found.word, found.reason) == ("7", "PENDING", "Priority")


@pytest.mark.parametrize(
    "text",
    [
        "squeue is disabled, use mysite-jobs\n",
        f"{HEADER}7 RUNNING None\n",
        "JOBID PARTITION NAME USER ST TIME NODES NODELIST(REASON)\n 7 gpu cosmos me R 0:01 1 n1\n",
        "<html>502</html>",
        "7|running\n",
    ],
)
def test_an_squeue_that_is_not_understood_ends_no_job_and_is_quoted(cluster, record, text):
    cluster.says("squeue", text)
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError) as error:
            verb(record)
        assert (error.value.exit_code, error.value.problems[0].code) == (6, "slurm_not_understood")
        assert any(line.strip() in str(error.value) for line in text.splitlines())
    assert cluster.calls("scancel") == []


@pytest.mark.parametrize(
    "accounts", ["7,FAILED,1:0,1700000000\n", "sacct: moved to xdmod\n", "7|FAILED\n", "JobIDRaw|State\n"]
)
def test_an_sacct_that_is_not_understood_leaves_it_to_the_controller_or_is_quoted(cluster, record, accounts):
    cluster.says("sacct", accounts)
    with pytest.raises(BackendError) as error:
        PLATFORM.status(record)
    assert accounts.strip() in str(error.value)
    cluster.says("scontrol", f"JobId=7 JobName={JOB} JobState=FAILED ExitCode=1:0 EndTime=1700000000\n")
    assert PLATFORM.status(record).state is State.ERROR


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (f"Hello\nJobId=7 JobName={JOB} JobState=FAILED ExitCode=1:0 EndTime=1700000000\n", State.ERROR),
        (f"JobId=7 JobName={JOB} JobState=FAILED\n", State.ERROR),
        (f"JobId=7 JobName={JOB} JobState=RUNNING Comment=JobState=FAILED\n", State.RUNNING),
        (f"JobId=7 JobName={JOB}\n", None),
        (f"JobId=7 JobName={JOB} JobState=42\n", None),
        ("JobId=7\n", State.UNKNOWN),
        ("<html>JobState=FAILED</html>\n", State.UNKNOWN),
    ],
)
def test_an_odd_answer_of_the_controller_is_read_as_far_as_it_goes(cluster, record, text, state):
    cluster.says("scontrol", text)
    if state is not None:
        assert PLATFORM.status(record).state is state
        return
    with pytest.raises(BackendError, match="JobId=7"):
        PLATFORM.status(record)


def test_what_the_run_directory_says_needs_no_odd_answer(cluster, record):
    cluster.says("sacct", "sacct: moved to xdmod\n")
    Path(record.results_dir, "logs", "exit_code").write_text("1\n")
    assert PLATFORM.status(record).state is State.ERROR


ODD_LINES = st.lists(st.text(alphabet="0123456789|:*ABCRUNIG_ \t\r\x00\x1b=é-", max_size=20), max_size=4).map("\n".join)


@given(ODD_LINES)
def test_no_text_ends_a_reader_in_anything_but_its_own_error(text):
    for reader in (rows.queued, rows.accounted, rows.submitted, rows.partitions):
        try:
            reader(text)
        except BackendError as error:
            assert error.problems[0].fix  # noqa: PT017 - either outcome is fine
    try:
        rows.remembered(text, JOB, "7")
    except BackendError as error:
        assert error.problems[0].fix  # noqa: PT017
