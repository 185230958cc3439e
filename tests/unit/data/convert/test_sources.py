"""Formats that are converted: each is recognised by its own content, and no two claim the same path."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from robot_datasets import version_2, version_3, write_json

from tao_skill_bank.data.convert import sources
from tao_skill_bank.data.convert.values import TARGETS
from tao_skill_bank.errors import BlockedError

RECORDS = [{"question": "Which?", "answer": "left"}]


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_table(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(RECORDS), path)
    return path


SAMPLES = {
    "json": ("records", lambda root: write_text(root / "x.json", json.dumps(RECORDS))),
    "json lines": ("records", lambda root: write_text(root / "x.jsonl", json.dumps(RECORDS[0]))),
    "folder": ("records", lambda root: write_text(root / "in/annotations.json", json.dumps(RECORDS)).parent),
    "lerobot 2": ("lerobot_v2", lambda root: version_2(root / "in", lengths=(2,), tasks=("Wave.",))),
    "lerobot 3": ("lerobot_v3", lambda root: version_3(root / "in", files=((2,),))),
    "saved": ("saved_dataset", lambda root: write_text(root / "in/state.json", "{}").parent),
    "saved splits": ("saved_dataset", lambda root: write_text(root / "in/dataset_dict.json", "{}").parent),
    "parquet": ("parquet", lambda root: write_table(root / "x.parquet")),
    "parquet folder": ("parquet", lambda root: write_table(root / "in/data/train-00000-of-00001.parquet").parents[1]),
    "csv": ("csv_table", lambda root: write_text(root / "x.csv", "question,answer\n")),
    "tsv": ("csv_table", lambda root: write_text(root / "x.TSV", "question\tanswer\n")),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_format_is_recognised_by_one_source(tmp_path: Path, sample):
    name, make = SAMPLES[sample]
    path = make(tmp_path)
    assert [source.__name__.rpartition(".")[2] for source in sources.all_sources() if source.detect(path)] == [name]
    assert sources.find(path).__name__.endswith(name)


def test_every_source_has_a_sample_a_title_and_targets():
    known = sources.all_sources()
    assert {source.__name__.rpartition(".")[2] for source in known} == {name for name, _ in SAMPLES.values()}
    assert len({source.TITLE for source in known}) == len(known)
    assert all(source.TARGETS and set(source.TARGETS) <= set(TARGETS) for source in known)


def test_several_formats_in_one_folder_are_named(tmp_path: Path):
    write_table(tmp_path / "in/x.parquet")
    write_text(tmp_path / "in/annotations.json", json.dumps(RECORDS))
    with pytest.raises(BlockedError, match="several formats: a parquet file, or a folder of them; an annotation file"):
        sources.find(tmp_path / "in")


@pytest.mark.parametrize("content", ["", "[", "[]", '{"codebase_version": 2}', '{"codebase_version": ""}', "[" * 500])
def test_what_is_not_understood_is_one_clear_error(tmp_path: Path, content):
    write_text(tmp_path / "in/meta/info.json", content)
    with pytest.raises(BlockedError, match="in no format that is converted") as raised:
        sources.find(tmp_path / "in")
    assert all(source.TITLE in raised.value.problems[0].fix for source in sources.all_sources())


def test_data_in_an_object_store_is_staged_first(tmp_path: Path):
    write_json(tmp_path / "x.json", RECORDS)
    with pytest.raises(BlockedError) as raised:
        sources.find(Path("s3://lab/data"))
    assert "data stage" in raised.value.problems[0].fix
