"""The report of a job, alone and against an earlier one."""

import json

import pytest
from report_runs import annotated, make_evaluation, seal
from runs import make_job, make_plan, make_record
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BlockedError, RequestError, UnknownNameError
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore


def evaluation(tmp_path, name, is_right):
    """Record a finished evaluation and return its job id."""
    folder = tmp_path / name
    make_evaluation(folder, tmp_path / "data", is_right)
    seal(folder, "evaluate", (annotated("eval", tmp_path / "data"),))
    job = make_job(folder, action="evaluate")
    JobStore().create(make_record(job, terminal_state=State.COMPLETE))
    return job.id


def test_a_report_against_an_earlier_job_tests_the_difference(tmp_path):
    before = evaluation(tmp_path, "before", lambda position: position > 20)
    after = evaluation(tmp_path, "after", lambda _: True)
    page = tmp_path / "page.html"
    shown = CliRunner().invoke(app, ["report", after, "--against", before, "--out", str(page)])
    assert shown.exit_code == 0, shown.output
    text = page.read_text()
    assert "Is the difference real?" in text
    assert f"{after} against {before}, on the 24 questions that both answered" in text


def test_a_base_as_a_second_word_is_compared_in_numbers_too(tmp_path):
    base = evaluation(tmp_path, "base", lambda position: position > 20)
    tuned = evaluation(tmp_path, "tuned", lambda _: True)
    page = str(tmp_path / "page.html")
    shown = CliRunner().invoke(app, ["report", tuned, base, "--out", page])
    assert (
        f"{tuned} against {base}, on 24 questions that both answered\naccuracy +0.8750, 95 % interval" in shown.output
    )
    assert "newly right 21, newly wrong 0; McNemar p = 0.0000: the difference is unlikely to be chance" in shown.output
    document = json.loads(CliRunner().invoke(app, ["report", tuned, base, "--out", page, "--json"]).output)
    compared = document["comparison"]
    assert (compared["questions"], compared["gained"], compared["lacking"]) == (24, 21, 0)
    low, high = compared["changes"][0]["interval"]
    assert low < compared["changes"][0]["value"] < high


def shortened(tmp_path, name, entries):
    """Keep some entries of an evaluation's results."""
    path = tmp_path / name / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text())[entries]))


def test_a_base_that_lacks_questions_is_compared_on_the_others_and_named(tmp_path):
    base = evaluation(tmp_path, "base", lambda _: False)
    tuned = evaluation(tmp_path, "tuned", lambda _: True)
    shortened(tmp_path, "base", slice(0, 20))
    shown = CliRunner().invoke(app, ["report", tuned, base, "--out", str(tmp_path / "page.html"), "--json"])
    (finding,) = json.loads(shown.output)["findings"]
    assert (finding["code"], finding["evidence"]) == ("questions_lacking", {"lacking": 4})
    assert f"--parent {tuned} --base" in finding["fix"]


@pytest.mark.parametrize("words", [["--against"], []])
def test_a_base_without_a_common_question_is_refused_with_the_command_that_measures_it(tmp_path, words):
    base = evaluation(tmp_path, "base", lambda _: False)
    tuned = evaluation(tmp_path, "tuned", lambda _: True)
    shortened(tmp_path, "base", slice(0, 12))
    shortened(tmp_path, "tuned", slice(12, 24))
    shown = CliRunner().invoke(app, ["report", tuned, *words, base])
    assert isinstance(shown.exception, BlockedError)
    problem = shown.exception.problems[0]
    assert problem.code == "nothing_to_compare"
    command = f"tao-skills run tao-finetune-cosmos-reason evaluate --parent {tuned} --base"
    assert problem.fix.endswith(command)
    assert not (tmp_path / "tuned" / "report.html").exists()


def test_a_job_that_answers_no_questions_is_nothing_to_compare_an_evaluation_with(tmp_path):
    tuned = evaluation(tmp_path, "tuned", lambda _: True)
    other = evaluation(tmp_path, "other", lambda _: True)
    (tmp_path / "other" / "results.json").unlink()
    shown = CliRunner().invoke(app, ["report", tuned, other])
    assert isinstance(shown.exception, BlockedError)
    assert f"{other} answers no questions" in str(shown.exception)


def test_a_report_prints_the_numbers_of_each_job(tmp_path):
    base = evaluation(tmp_path, "base", lambda position: position % 2 == 0)
    tuned = evaluation(tmp_path, "tuned", lambda _: True)
    page = str(tmp_path / "page.html")
    shown = CliRunner().invoke(app, ["report", tuned, base, "--out", page])
    assert f"{base}\taccuracy 0.5" in shown.output
    assert f"{tuned}\taccuracy 1" in shown.output
    document = json.loads(CliRunner().invoke(app, ["report", tuned, base, "--out", page, "--json"]).output)
    assert document["metrics"][base]["accuracy"] == 0.5


def test_two_jobs_to_compare_with_and_the_job_itself_are_refused():
    for words, code in ((["b", "--against", "c"], "given_twice"), (["a"], "compared_with_itself")):
        shown = CliRunner().invoke(app, ["report", "a", *words])
        assert shown.exception.problems[0].code == code


@pytest.mark.parametrize("against", ["nothing", None])
def test_an_earlier_job_that_is_unknown_or_gone_is_one_error(tmp_path, against):
    after = evaluation(tmp_path, "after", lambda _: True)
    if against is None:
        job = make_job(tmp_path / "gone", action="evaluate")
        JobStore().create(make_record(job, terminal_state=State.COMPLETE))
        against = job.id
    shown = CliRunner().invoke(app, ["report", after, "--against", against])
    assert isinstance(shown.exception, UnknownNameError)


def logged(tmp_path, log):
    """Record a finished job with a log and return its id."""
    job = make_job(tmp_path / "run")
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "run" / "logs" / "job.log").write_bytes(log)
    JobStore().create(make_record(job, terminal_state=State.COMPLETE))
    return job.id


LOG = b"step 1 tokens/s 5\r\nHF_TOKEN=" + b"s3cr3tValue0" + b"\n\xff \xe2\x96\x88\nthe end"


def test_logs_are_shown_as_written_with_their_credentials_masked(tmp_path):
    shown = CliRunner().invoke(app, ["logs", logged(tmp_path, LOG)])
    assert shown.exit_code == 0, shown.output
    expected = "step 1 tokens/s 5\r\nHF_TOKEN=[redacted]\n\ufffd █\nthe end\n"
    assert shown.stdout_bytes.decode() == expected


def test_logs_as_json_are_a_list_of_lines(tmp_path):
    shown = CliRunner().invoke(app, ["logs", logged(tmp_path, LOG), "--json"])
    lines = ["step 1 tokens/s 5\r", "HF_TOKEN=[redacted]", "\ufffd █", "the end"]
    assert json.loads(shown.stdout)["lines"] == lines
    empty = CliRunner().invoke(app, ["logs", logged(tmp_path / "other", b""), "--json"])
    assert json.loads(empty.stdout)["lines"] == []


CHANGING = (
    ["cancel"],
    ["cancel", "--close"],
    ["retry"],
    ["status", "--adopt"],
    ["data", "upload"],
    ["automl", "resume"],
)
READING = (["status"], ["logs"], ["watch"], ["report"], ["diagnose"], ["automl", "status"], ["automl", "best"])


def similar_to_a_job(tmp_path, words):
    """Call a command with an id that differs in one letter from that of a job; return that id and the problem."""
    known = logged(tmp_path, b"")
    shown = CliRunner().invoke(app, [*words, f"{known[:-1]}{'0' if known[-1] != '0' else '1'}"])
    assert isinstance(shown.exception, UnknownNameError), shown.output
    return known, shown.exception.problems[0]


@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_a_command_that_changes_a_job_never_suggests_another_one(tmp_path, words):
    known, problem = similar_to_a_job(tmp_path, words)
    assert known not in f"{problem.message} {problem.fix}"
    assert "Did you mean" not in problem.fix


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_that_reads_suggests_the_job_that_was_meant(tmp_path, words):
    known, problem = similar_to_a_job(tmp_path, words)
    assert problem.fix.startswith(f"Did you mean {known}?")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("words", [["watch", "some-job"], ["watch"], ["run", "tao-finetune-cosmos-reason", "train"]])
def test_a_timeout_that_does_not_wait_is_refused_with_the_command_that_looks_once(words, seconds):
    shown = CliRunner().invoke(app, [*words, "--timeout", seconds])
    assert isinstance(shown.exception, RequestError), shown.output
    (problem,) = shown.exception.problems
    assert problem.path == "--timeout"
    assert f"tao-skills {'status some-job' if 'some-job' in words else 'jobs'}" in problem.fix


def test_watching_several_jobs_ends_at_the_timeout_with_those_that_have_not_ended(tmp_path, fake_trainer):
    over = service.launch(make_plan(make_job(tmp_path / "over", ("start", "fail:No."))))
    going = service.launch(make_plan(make_job(tmp_path / "going", ("start", "step:3", "wait_for:go"))))
    over.wait(300)
    shown = CliRunner().invoke(app, ["watch", over.id, going.id, "--timeout", "0.5", "--json"])
    going.cancel()
    answer = json.loads(shown.stdout)
    assert (shown.exit_code, answer["code"]) == (9, 9)
    assert [now["job_id"] for now in answer["running"]] == [going.id]
    assert {error["code"] for error in answer["errors"]} == {"job_failed", "not_ended"}
    assert answer["next"] == [f"tao-skills watch {over.id} {going.id} --timeout 0.5"]
