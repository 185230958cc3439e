import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tao_skill_bank.bank import catalog
from tao_skill_bank.cli import diagnosis_lines
from tao_skill_bank.cli.main import app
from tao_skill_bank.jobs import diagnose
from tao_skill_bank.jobs.sized_fix import PlannedRun

TIMEOUT = (
    "[rank{}]:[E1206 18:44:12.7 ProcessGroupNCCL.cpp:632] [Rank {}] Watchdog caught collective operation timeout: X"
)
HANG = [TIMEOUT.format(rank, rank) for rank in range(12)]
CAUSE = [
    "[rank3]: Traceback (most recent call last):",
    '[rank3]:   File "/opt/a.py", line 3, in step',
    "[rank3]:     x",
    "[rank3]: torch.OutOfMemoryError: CUDA out of memory.",
]


def test_the_root_cause_has_place_fix_settings_and_retry_and_its_followers_are_counted() -> None:
    spec = catalog.find("tao-finetune-cosmos-reason").schema("train")["default"]
    run = PlannedRun("cosmos_reason", "train", "tao-finetune-cosmos-reason", spec)
    found = diagnose.diagnose_text((f"{line}\n" for line in [*HANG, *CAUSE]), "job.log", run)
    shown = list(diagnosis_lines.lines(found))
    assert shown[0] == "root cause: training_out_of_memory: [rank3]: torch.OutOfMemoryError: CUDA out of memory."
    assert shown[1] == "  at: job.log:16 (rank 3), raised at /opt/a.py:3, in step"
    assert "  set: --set train.train_policy.mini_batch=2" in shown
    assert "  retry: after this change (ERR_PROGRAM)" in shown
    assert shown[-2:] == [
        "followers: 12 lines that only follow from it",
        "  collective_timeout: 12, first at job.log:1 (ranks 0, 1, 2, 3, 4, 5, 6, 7 and 4 more)",
    ]
    assert diagnosis_lines.summary(found) == {"root_cause": "training_out_of_memory", "num_followers": 12}


def test_a_log_of_followers_alone_says_so() -> None:
    found = diagnose.diagnose_text((f"{line}\n" for line in HANG), "job.log")
    assert next(diagnosis_lines.lines(found)).startswith("root cause: not in this log")
    assert diagnosis_lines.summary(found)["root_cause"] is None


@pytest.fixture
def answer(tmp_path: Path):
    """Return a way to diagnose a log by the command line."""

    def ask(lines: list[str], *words: str):
        path = tmp_path / "some.log"
        path.write_text("".join(f"{line}\n" for line in lines))
        return CliRunner().invoke(app, ["diagnose", str(path), *words])

    return ask


def test_the_document_says_the_same(answer) -> None:
    document = json.loads(answer([*HANG, *CAUSE], "--json").stdout)
    assert (document["root_cause"], document["num_followers"]) == ("cuda_out_of_memory", 12)
    assert [entry["role"] for entry in document["diagnoses"]] == ["root", "follower"]


def test_the_rules_of_another_skill_are_left_out_where_the_log_is_said_to_be_of_one(answer) -> None:
    lines = ["KeyError: 'video_fps'"]
    assert "missing_video_fps" in answer(lines, "--skill", "cosmos-reason").stdout
    assert "missing_video_fps" not in answer(lines, "--skill", "cosmos-predict").stdout
    assert answer(lines, "--skill", "nonsense").exit_code != 0


def test_a_healthy_log_has_no_root_cause(answer) -> None:
    document = json.loads(answer(["step 1", "done"], "--json").stdout)
    assert (document["root_cause"], document["diagnoses"][0]["code"]) == (None, "no_failure")
    assert answer(["step 1"]).stdout.startswith("found: no_failure: step 1")
