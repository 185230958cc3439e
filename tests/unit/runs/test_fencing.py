"""The start that came last publishes; an earlier one finds that out and writes nothing more."""

import json

import pytest

from tao_skill_bank.contracts import EXIT_PEER_LOST
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.runs import fencing, run_directory, status_log
from tao_skill_bank.runs.status_log import MetricsWriter, StatusWriter

PUBLISH = {
    "a file": lambda folder: run_directory.write_whole(folder / "results.json", "[]"),
    "a status line": lambda folder: StatusWriter(folder).write("SUCCESS", "done"),
    "a metric": lambda folder: MetricsWriter(folder).write(1, 0.5, {"loss": 1.0}),
    "a line": lambda folder: status_log.append(folder / "answers.jsonl", {}),
}


@pytest.fixture(autouse=True)
def _no_epoch():
    yield
    fencing.adopt(None)


def files(folder):
    return {path.name for path in folder.iterdir()} - {fencing.FILE}


@pytest.mark.parametrize("what", PUBLISH)
def test_a_superseded_writer_publishes_nothing_and_says_who_writes_now(tmp_path, monkeypatch, what):
    monkeypatch.setenv("TAO_JOB_ID", "first")
    first = fencing.begin(tmp_path)
    monkeypatch.setenv("TAO_JOB_ID", "second")
    fencing.begin(tmp_path)
    fencing.adopt(first)
    with pytest.raises(JobFailedError, match="written by job second now") as error:
        PUBLISH[what](tmp_path)
    assert error.value.exit_code == EXIT_PEER_LOST
    assert error.value.problems[0].code == fencing.SUPERSEDED
    assert not files(tmp_path)


@pytest.mark.parametrize("what", PUBLISH)
def test_the_writer_that_started_last_publishes(tmp_path, what):
    fencing.begin(tmp_path)
    fencing.begin(tmp_path)
    PUBLISH[what](tmp_path)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("found", ["", "[]", "{", '{"epoch": "two"}', '{"epoch": 1, "token": "of an earlier start"}'])
def test_a_file_that_does_not_name_a_later_start_supersedes_nobody(tmp_path, found):
    fencing.begin(tmp_path)
    fencing.begin(tmp_path)
    (tmp_path / fencing.FILE).write_text(found)
    run_directory.write_whole(tmp_path / "result.json", "{}")
    assert (tmp_path / "result.json").read_text() == "{}"


def test_a_start_counts_on_from_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / fencing.FILE).write_text("{")
    assert fencing.begin(tmp_path).number == 1
    assert fencing.begin(tmp_path).number == 2
    assert json.loads((tmp_path / fencing.FILE).read_text())["epoch"] == 2


def test_a_process_that_is_no_writer_is_not_asked(tmp_path):
    fencing.begin(tmp_path)
    fencing.adopt(None)
    run_directory.write_whole(tmp_path / "result.json", "{}")
    assert (tmp_path / "result.json").read_text() == "{}"
