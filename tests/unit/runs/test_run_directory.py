import resource

import pytest

from tao_skill_bank.runs.run_directory import (
    RunDirectory,
    epoch_seconds,
    json_lines,
    last_json_line,
    read_json_file,
    set_aside,
    write_whole,
)


@pytest.fixture
def lines_file(tmp_path):
    return tmp_path / "status.jsonl"


@pytest.mark.parametrize("half", ['{"step": 3', "", "\n", '{"step": 3, "message": "\\u00', "[3]\n", "\x00\x00\x00"])
def test_a_half_written_last_line_is_as_if_not_there(lines_file, half):
    lines_file.write_text('{"step": 1}\n{"step": 2}\n' + half)
    assert [line["step"] for line in json_lines(lines_file)] == [1, 2]
    assert last_json_line(lines_file) == {"step": 2}


def test_a_line_cut_in_the_middle_of_a_character_is_skipped(lines_file):
    lines_file.write_bytes('{"step": 1}\n{"message": "ü'.encode()[:-1])
    assert last_json_line(lines_file) == {"step": 1}
    assert list(json_lines(lines_file)) == [{"step": 1}]


def test_the_lines_of_a_missing_file_are_none(lines_file):
    assert list(json_lines(lines_file)) == []
    assert last_json_line(lines_file) == {}


def test_the_last_line_of_a_long_file_is_found_from_its_end(lines_file):
    with lines_file.open("w") as file:
        file.writelines(f'{{"step": {step}, "message": "{"x" * 100}"}}\n' for step in range(5000))
    assert last_json_line(lines_file)["step"] == 4999


@pytest.mark.parametrize(("text", "code"), [("0\n", 0), ("137\n", 137), ("", None), ("x", None)])
def test_an_exit_code_is_a_number_or_nothing(tmp_path, text, code):
    run = RunDirectory(tmp_path)
    assert run.exit_code() is None
    run.exit_code_file.parent.mkdir()
    run.exit_code_file.write_text(text)
    assert run.exit_code() == code


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "result.json"
    write_whole(path, "old")
    write_whole(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_whole(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (12.5, 12.5),
        ("1970-01-01T00:00:12.500+00:00", 12.5),
        ("1970-01-01T00:00:12.5Z", 12.5),
        ("1970-01-01T00:00:12", 12.0),
        ("1970-01-01T02:00:12+02:00", 12.0),
        ("soon", None),
        (None, None),
    ],
)
def test_times_are_numbers_or_iso_text(moment, seconds):
    assert epoch_seconds(moment) == seconds


def test_a_json_file_that_is_missing_or_broken_has_no_value(tmp_path):
    assert read_json_file(tmp_path / "result.json") is None
    (tmp_path / "result.json").write_text('{"state": ')
    assert read_json_file(tmp_path / "result.json") is None


def test_a_run_that_is_set_aside_keeps_its_logs_and_leaves_an_empty_start(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "exit").mkdir()
    run.status_file.write_text('{"state": "FAILURE"}\n')
    run.log_file.write_text("boom\n")
    run.exit_code_file.write_text("1")
    run.metrics_file.write_text("{}\n")
    run.result_file.write_text('{"state": "ERROR"}')
    run.plan_file.write_text('{"job": {"id": "job-1"}}')
    set_aside(run, "job-1")
    run.plan_file.write_text('{"job": {"id": "job-2"}}')
    earlier = RunDirectory.of(str(tmp_path), "job-1")
    assert (earlier.last_status(), earlier.exit_code()) == ({"state": "FAILURE"}, 1)
    assert read_json_file(earlier.result_file) == {"state": "ERROR"}
    assert read_json_file(earlier.plan_file) == {"job": {"id": "job-1"}}
    assert RunDirectory.of(str(tmp_path), "job-2") == run
    assert not run.result_file.exists()
    assert (run.last_status(), run.exit_code()) == ({}, None)
    assert (tmp_path / "logs" / "job-1.job.log").read_text() == "boom\n"
    assert (tmp_path / "logs" / "job-1.status.jsonl").is_file()
    assert run.metrics_file.is_file()
