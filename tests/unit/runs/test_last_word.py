import json
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.contracts import State
from tao_skill_bank.runs import results
from tao_skill_bank.runs.last_word import MARK
from tao_skill_bank.runs.run_directory import RunDirectory

STARTED = {"state": "STARTED", "message": "2 processes on cpu"}
RUNNING = {"state": "RUNNING", "step": 3, "total": 9, "message": "step 3"}
SUCCESS = {"state": "SUCCESS", "message": "done"}


def failure(code: str = "clips_missing") -> dict[str, Any]:
    diagnosis = {"code": code, "cause": "The clips.", "cure": "Copy them."}
    return {"state": "FAILURE", "message": "m", "diagnosis": diagnosis}


def run_of(folder: Path, lines: list[dict[str, Any]], *, marked: bool) -> RunDirectory:
    (folder / "status.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    if marked:
        (folder / "exit").mkdir()
        (folder / MARK).touch()
    return RunDirectory(folder)


@pytest.mark.parametrize(
    ("lines", "marked", "state"),
    [
        ([failure(), STARTED], False, "FAILURE"),
        ([failure(), STARTED], True, "FAILURE"),
        ([STARTED, RUNNING, failure(), RUNNING, RUNNING], True, "FAILURE"),
        ([failure("interrupted"), STARTED], True, "FAILURE"),
        ([STARTED, RUNNING, failure("interrupted"), STARTED], False, "STARTED"),
        ([STARTED, RUNNING, failure("peer_died"), STARTED, RUNNING], False, "RUNNING"),
        ([failure(), STARTED, RUNNING], False, "RUNNING"),
        ([failure(), STARTED, RUNNING, SUCCESS], True, "SUCCESS"),
        ([STARTED, RUNNING], True, "RUNNING"),
        ([], True, None),
    ],
)
def test_a_failure_counts_where_later_lines_are_of_the_same_start(
    tmp_path: Path, lines: list[dict[str, Any]], marked: bool, state: str | None
) -> None:
    run = run_of(tmp_path, lines, marked=marked)
    assert run.last_status().get("state") == state
    result = results.read(run)
    expected = {"FAILURE": State.ERROR, "SUCCESS": State.COMPLETE}.get(state or "", State.UNKNOWN)
    assert result.state is expected
    assert bool(result.failure) == (state == "FAILURE")


def test_a_line_of_other_types_is_read_as_before(tmp_path: Path) -> None:
    run = run_of(tmp_path, [{"state": "RUNNING", "step": 3.0, "total": "9", "eta_seconds": 5, "time": 3}], marked=False)
    assert run.last_status() == {"state": "RUNNING", "step": 3, "eta_seconds": 5.0, "time": 3.0}
