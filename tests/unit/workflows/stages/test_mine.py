"""Clips like the gaps are mined once per workflow, and a mining that finds nothing is a result."""

import json
from pathlib import Path

import numpy as np
import pytest
from mining_pools import QUESTION, record, write_annotations, write_clips, write_embeddings, write_gaps

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import gaps, merge_annotations, mine


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 5)


@pytest.fixture
def mined(tmp_path, clips):
    """Run the stage for an iteration of a workflow."""
    kpi, pool = clips[:1], clips[1:]
    vectors = [[1, 0.1 * number] for number in range(1, 5)]
    files = {
        "queries": write_embeddings(tmp_path / "kpi.parquet", kpi, [[1, 0]]),
        "pool": write_embeddings(tmp_path / "pool.parquet", pool, vectors, dtype=np.float32),
        "gaps": write_gaps(tmp_path / "gaps.parquet", kpi, ["left"]),
    }

    def run(iteration, **arguments):
        folder = tmp_path / str(iteration)
        folder.mkdir(exist_ok=True)
        named = {name: str(path) for name, path in files.items()}
        given = stage.arguments_of(mine, {**named, "top_k": 2, **arguments}, "arguments")
        outputs = mine.run(given, stage.Context(folder, tmp_path, iteration, lambda _: None))
        assert set(outputs) == set(mine.OUTPUTS)
        (document,) = mine.promised(given, folder)
        assert json.loads(document.read_text()) == outputs
        return outputs

    return run


def labelled(tmp_path, clips):
    records = [record(f"r{number}", path, "left") for number, path in enumerate(clips[1:])]
    return str(write_annotations(tmp_path / "pool.json", records))


def test_records_of_a_labelled_pool_are_mined_for_merging_and_once_per_workflow(mined, tmp_path, clips):
    pool = labelled(tmp_path, clips)
    first = mined(1, annotations=pool)
    assert (first["rows"], first["classes"], first["unlabelled"]) == (2, {"left": 2}, None)
    assert mined(1, annotations=pool) == first
    second = mined(2, annotations=pool)
    ids = [[each["id"] for each in json.loads(Path(run["annotations"]).read_text())] for run in (first, second)]
    assert ids == [["r0", "r1"], ["r2", "r3"]]
    sources = tuple(merge_annotations.Source(run["annotations"], name=f"m{n}") for n, run in enumerate((first, second)))
    (tmp_path / "merged").mkdir()
    context = stage.Context(tmp_path / "merged", tmp_path, 2, lambda _: None)
    assert merge_annotations.run(merge_annotations.Arguments(sources), context)["rows"] == 4


def test_clips_of_a_pool_without_records_are_listed_for_labelling(mined):
    outputs = mined(1, log=None)
    assert (outputs["annotations"], outputs["rows"]) == (None, 2)
    assert len(Path(outputs["unlabelled"]).read_text().splitlines()) == 2


def test_a_pool_that_is_used_up_and_gaps_without_rows_are_results(mined, tmp_path, clips):
    pool = labelled(tmp_path, clips)
    mined(1, annotations=pool, top_k=4)
    used_up = mined(2, annotations=pool)
    assert (used_up["rows"], used_up["annotations"]) == (0, None)
    assert "mined before" in used_up["nothing_because"]
    none = str(write_gaps(tmp_path / "none.parquet", [], []))
    assert "no gaps" in mined(3, annotations=pool, gaps=none)["nothing_because"]


def test_files_that_cannot_be_mined_fail_the_stage(mined, tmp_path):
    with pytest.raises(BlockedError, match="no embedding"):
        mined(1, gaps=str(write_gaps(tmp_path / "other.parquet", ["/other.mp4"], ["left"])))


def test_the_gaps_of_the_stage_before_are_queries(mined, tmp_path, clips):
    run = tmp_path / "run"
    run.mkdir()
    entry = {"video_id": clips[0], "question": f"<video>\n{QUESTION}", "response": "right", "gt": "left"}
    (run / "results.json").write_text(json.dumps([entry]))
    found = gaps.run(gaps.Arguments(str(run)), stage.Context(run, tmp_path, 1, lambda _: None))
    outputs = mined(1, gaps=found["gaps"])
    assert outputs["clips"] == 2
    summary = json.loads(Path(outputs["summary"]).read_text())
    assert summary["clips"][0]["found_by"][0]["ground_truth"] == "left"
