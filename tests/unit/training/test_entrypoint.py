"""Which of a job's processes reports why it failed."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.runs.status_log import Diagnosis
from tao_skill_bank.training import distributed, endings, entrypoint
from tao_skill_bank.training.entrypoint import Run


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    distributed.stop()


def _reported(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]
    return [line["diagnosis"]["code"] for line in lines if line["state"] == "FAILURE"]


def _fail(spec: None, run: Run) -> str:
    raise BlockedError.of("missing_media", "No such video.", "Add it.")


def test_a_rank_that_fails_alone_reports_it(tmp_path):
    assert entrypoint.run(None, _fail, tmp_path) == BlockedError.exit_code
    assert _reported(tmp_path) == ["missing_media"]


def test_an_earlier_failure_in_the_folder_hides_no_later_one(tmp_path):
    for _ in range(2):
        entrypoint.run(None, _fail, tmp_path)
        distributed.stop()
    assert _reported(tmp_path)[-1:] == ["missing_media"]


def test_a_rank_that_fails_beside_a_reporter_leaves_only_its_exit_record(tmp_path):
    def fail_second(spec: None, run: Run) -> str:
        assert entrypoint._is_first(run.results_dir)  # as another rank does that has not written its record yet
        return _fail(spec, run)

    assert entrypoint.run(None, fail_second, tmp_path) == BlockedError.exit_code
    assert _reported(tmp_path) == []
    assert json.loads((tmp_path / "exit" / "rank_0.json").read_text())["exit_code"] == BlockedError.exit_code


def test_a_rank_whose_peer_has_failed_already_writes_no_start_after_it(tmp_path, monkeypatch):
    join = entrypoint._start

    def join_late(*arguments):
        ranks = join(*arguments)
        assert entrypoint._is_first(tmp_path)  # another rank fails before this one writes
        return ranks

    monkeypatch.setattr(entrypoint, "_start", join_late)
    entrypoint.run(None, lambda *_: "done", tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "status.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines] == ["SUCCESS"]


def test_of_many_ranks_that_fail_in_the_same_moment_one_reports(tmp_path):
    def is_reporter(_: int) -> bool:
        return entrypoint._is_reporter(Diagnosis("missing_media", "", ""), tmp_path, None)

    with ThreadPoolExecutor(16) as ranks:
        answers: list[Any] = list(ranks.map(is_reporter, range(16)))
    assert answers.count(True) == 1


def test_after_an_interruption_that_rank_0_reports_no_other_does(tmp_path):
    assert entrypoint._is_reporter(Diagnosis(endings.INTERRUPTED, "", ""), tmp_path, None)
    assert not entrypoint._is_reporter(Diagnosis("canceled", "", ""), tmp_path, None)
