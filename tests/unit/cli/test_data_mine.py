"""Mining from the command line."""

import json

import numpy as np
import pytest
from mining_pools import write_clips, write_embeddings, write_gaps
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.errors import ConflictError


@pytest.fixture
def words(tmp_path):
    clips = write_clips(tmp_path / "clips", 4)
    queries = write_embeddings(tmp_path / "kpi.parquet", clips[:1], [[1, 0]])
    pool = write_embeddings(tmp_path / "pool.parquet", clips[1:], [[1, 0.1], [1, 0.2], [0, 1]], dtype=np.float32)
    gaps = write_gaps(tmp_path / "gaps.parquet", clips[:1], ["left"])
    paths = {"--queries": queries, "--pool": pool, "--gaps": gaps, "--out": tmp_path / "out"}
    return ["data", "mine", *(str(word) for pair in paths.items() for word in pair), "--top-k", "2"]


def test_one_json_document_says_what_was_mined(words, tmp_path):
    finished = CliRunner().invoke(app, [*words, "--metric", "manhattan", "--json"])
    assert finished.exit_code == 0, finished.output
    document = json.loads(finished.stdout)
    assert (document["ok"], document["counts"]["clips"], document["classes"]) == (True, 2, {"left": 2})
    assert document["result"] == str(tmp_path / "out" / "mined_unlabelled.jsonl")
    assert {found["code"] for found in document["findings"]} >= {"source_not_checked"}


def test_lines_for_people_name_classes_and_what_was_not_mined(words, tmp_path):
    finished = CliRunner().invoke(app, [*words, "--log", str(tmp_path / "log.jsonl")])
    assert finished.exit_code == 0, finished.output
    assert finished.stdout.splitlines() == [
        f"{tmp_path / 'out' / 'mined_unlabelled.jsonl'}\tclips=2\tqueries=1",
        "class\tmined",
        "left\t2",
    ]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_a_folder_of_something_else_is_a_conflict(words, tmp_path):
    (tmp_path / "out").mkdir()
    finished = CliRunner().invoke(app, words)
    assert isinstance(finished.exception, ConflictError)
