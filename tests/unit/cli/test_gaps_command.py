"""Gaps from the command line."""

import json

import pytest
from report_runs import annotated, make_evaluation, seal
from runs import make_job, make_record
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BlockedError, UnknownNameError
from tao_skill_bank.jobs.store import JobStore

parquet = pytest.importorskip("pyarrow.parquet")

ANSWER = {"video_id": "v/1.mp4", "question": "Bus?", "response": "no", "gt": "yes"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(*words):
    return CliRunner().invoke(app, ["gaps", *map(str, words)])


def results(path, *answers):
    path.write_text(json.dumps(answers))
    return path


def test_the_gaps_of_a_job_are_written_with_the_records_of_its_plan(tmp_path):
    run = tmp_path / "run"
    make_evaluation(run, tmp_path / "data", lambda position: position > 2)
    seal(run, "evaluate", (annotated("eval", tmp_path / "data"),))
    job = make_job(run, action="evaluate")
    JobStore().create(make_record(job, terminal_state=State.COMPLETE))
    shown = answered(job.id, "--json")
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    wrong = [each for each in json.loads((run / "results.json").read_text()) if each["response"] != each["gt"]]
    assert (document["count"], document["gaps"]) == (len(wrong), str(tmp_path / "gaps.parquet"))
    rows = parquet.read_table("gaps.parquet").to_pylist()
    assert [row["response"] for row in rows] == [each["response"] for each in wrong]
    assert all(row["video_id"].startswith(str(tmp_path / "data")) for row in rows)


def test_a_file_of_answers_is_enough_and_its_videos_are_below_the_given_folder(tmp_path):
    path = results(tmp_path / "answers.json", ANSWER, ANSWER, {**ANSWER, "response": "Yes"})
    shown = answered(path, "--media", "data", "--out", "out.parquet", "--kpi-gaps", "kpi.jsonl")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines() == [
        f"{tmp_path / 'out.parquet'}\tgaps=2\tanswers=3\taccuracy=0.3333",
        str(tmp_path / "kpi.jsonl"),
        "error\tgaps",
        "FN\t2",
        "cluster\tgaps\tquestion\ttruth\tanswer",
        "1\t2\tBus?\tyes\tno",
    ]
    assert json.loads((tmp_path / "kpi.jsonl").read_text().splitlines()[0])["video_id"] == str(
        tmp_path / "data/v/1.mp4"
    )


def test_videos_that_mining_would_not_find_are_a_warning(tmp_path):
    document = json.loads(answered(results(tmp_path / "answers.json", ANSWER), "--json").stdout)
    assert [found["code"] for found in document["findings"]] == ["videos_relative"]


def test_no_gaps_are_success_and_said(tmp_path):
    shown = answered(results(tmp_path / "answers.json", {**ANSWER, "response": "yes"}))
    assert shown.exit_code == 0
    assert "no gaps" in shown.stdout


def test_what_is_neither_a_job_nor_results_is_refused(tmp_path):
    assert isinstance(answered("no-such-job").exception, UnknownNameError)
    missing = answered(tmp_path / "none.json").exception
    assert isinstance(missing, BlockedError)
    assert missing.problems[0].code == "results_unreadable"
