"""Gaps carry the record ids and media paths of the input that was evaluated, whatever version its plan is of."""

import json
from pathlib import Path

import pytest

from tao_skill_bank.runs import gaps

parquet = pytest.importorskip("pyarrow.parquet")

RECORD = {
    "id": "clip-7",
    "video": "videos/7.mp4",
    "conversations": [{"from": "human", "value": "Which way?"}, {"from": "gpt", "value": "left"}],
}


def evaluation(folder: Path, version: int) -> Path:
    """Write a run directory with one wrong answer; return it."""
    run, data = folder / "run", folder / "data"
    run.mkdir()
    data.mkdir()
    (data / "annotations.json").write_text(json.dumps([RECORD]))
    paths = {"annotation_path": str(data / "annotations.json"), "media_path": str(data)}
    workload = {
        1: {"datasets": [{"role": "train", "annotation_path": "/no", "media_path": "/no"}, {"role": "eval", **paths}]},
        2: {"inputs": [{"role": "eval", "kind": "annotations", "paths": paths, "options": {}}]},
    }[version]
    (run / "plan.json").write_text(json.dumps({"schema_version": version, "job": {"workload": workload}}))
    entry = {"video_id": RECORD["video"], "question": "Which way?", "gt": "left", "response": "right"}
    (run / "results.json").write_text(json.dumps([entry, {**entry, "response": "Left "}]))
    return run


@pytest.mark.parametrize("version", [1, 2])
def test_a_gap_has_the_id_of_its_record_and_the_path_of_its_media(version: int, tmp_path: Path) -> None:
    found = gaps.analyze(evaluation(tmp_path, version), tmp_path / "gaps.parquet")
    (row,) = parquet.read_table(found.parquet).to_pylist()
    assert row["record_id"] == "clip-7"
    assert row["video_id"] == str(tmp_path / "data" / "videos" / "7.mp4")
    assert (found.records, found.gaps) == (2, 1)
