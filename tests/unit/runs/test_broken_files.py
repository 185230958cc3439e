import json

import pytest

from tao_skill_bank.runs import broken_files
from tao_skill_bank.runs.run_directory import SKIPPED_FILE, JsonLines, RunDirectory

NAMES = ("plan.json", "request.json", "metrics_summary.json", "best/best_score.json", "results.json", SKIPPED_FILE)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "best").mkdir()
    return RunDirectory(tmp_path)


def _findings(run, *read):
    found = broken_files.findings(run, read)
    for finding in found:
        assert (finding["code"], finding["severity"]) == ("run_file_broken", "warning")
        assert finding["path"] in finding["message"]
        assert finding["fix"]
    return {finding["path"].removeprefix(f"{run.path}/"): finding["message"] for finding in found}


def test_a_run_directory_without_files_has_none_that_is_broken(run):
    assert _findings(run, JsonLines(run.status_file)) == {}


def test_files_that_are_what_their_name_promises_are_not_named(run):
    for name in NAMES:
        (run.path / name).write_text("[]" if name == SKIPPED_FILE else "{}")
    assert _findings(run) == {}
    (run.path / "results.json").write_text('[{"id": 1}]')
    assert _findings(run) == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not JSON"),
        (b'{"cut": ', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 5000, "nested more than 100 levels"),
        (b"null", "holds null"),
        (b"3", "holds a number, not a"),
        (b'"text"', "holds a text, not a"),
    ],
    ids=["empty", "cut", "binary", "deep", "null", "number", "text"],
)
def test_a_file_that_is_not_what_its_name_promises_is_named_with_the_reason(run, name, data, why):
    (run.path / name).write_bytes(data)
    (message,) = _findings(run).values()
    assert why in message
    assert list(_findings(run)) == [name]


@pytest.mark.parametrize(
    ("name", "value"), [("plan.json", []), ("best/best_score.json", [1]), (SKIPPED_FILE, {}), ("request.json", [{}])]
)
def test_a_list_is_no_object_and_an_object_no_list(run, name, value):
    (run.path / name).write_text(json.dumps(value))
    assert list(_findings(run)) == [name]


@pytest.mark.parametrize("value", [[1, {"id": 1}, "x"], {"entries": [1, {}, None]}])
def test_entries_of_results_that_are_no_objects_are_counted(run, value):
    (run.path / "results.json").write_text(json.dumps(value))
    assert "2 of 3 entries are not objects" in _findings(run)["results.json"]


def test_a_file_that_cannot_be_opened_is_named(run):
    (run.path / "results.json").mkdir()
    assert "directory" in _findings(run)["results.json"]


@pytest.mark.parametrize(
    ("document", "lost"),
    [
        ({"kind": "numbers", "metrics": [1], "confusion_matrix": "a table"}, "metrics, confusion_matrix have"),
        ({"kind": ["numbers"]}, "kind has"),
        ({"kind": "numbers", "metrics": {}, "findings": [], "num_samples": 0}, ""),
    ],
)
def test_fields_of_a_summary_with_another_type_are_named(run, document, lost):
    (run.path / "metrics_summary.json").write_text(json.dumps(document))
    found = _findings(run)
    assert bool(found) == bool(lost)
    assert not lost or lost in found["metrics_summary.json"]


def test_lines_that_are_no_objects_are_named_but_not_a_last_one_that_is_being_written(run):
    run.status_file.write_text('{"state": "RUNNING"}\n3\n[]\n\nx\n"y"\n{"sta')
    lines = JsonLines(run.status_file)
    assert [line["state"] for line in lines] == ["RUNNING"]
    assert "4 of 7 lines are not JSON objects (line 2, 3, 5, ...)" in _findings(run, lines)["status.jsonl"]


def test_what_is_broken_hides_no_other(run):
    for name in NAMES:
        (run.path / name).write_text("3")
    assert sorted(_findings(run)) == sorted(NAMES)
