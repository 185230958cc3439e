"""Parquet files of embeddings as they come."""

import json

import numpy as np
import pyarrow as arrow
import pytest
from mining_pools import write_embeddings
from pyarrow import parquet

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.mining import embeddings

FILES = ["/a.mp4", "/b.mp4", "/c.mp4"]


def table(embedding, **columns):
    return arrow.table({"filepath": FILES, "embedding": embedding, "modality": ["vision"] * 3} | columns)


def write(path, content, **options):
    parquet.write_table(content, path, **options)
    return path


def rows(path, at_once=2):
    return np.concatenate([vectors for _, vectors in embeddings.opened(path).blocks(at_once)]).tolist()


@pytest.mark.parametrize("value", [arrow.float16(), arrow.float32()])
@pytest.mark.parametrize("kind", [lambda value: arrow.list_(value, 2), arrow.list_, arrow.large_list])
def test_every_kind_of_list_is_read(tmp_path, kind, value):
    path = write(tmp_path / "e.parquet", table(arrow.array([[1, 2], [3, 4], [5, 6]], kind(value))))
    assert embeddings.opened(path).dimension == 2
    assert rows(path) == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("kind", [arrow.list_(arrow.float32(), 2), arrow.list_(arrow.float16())])
def test_a_row_or_value_that_is_null_is_not_a_number(tmp_path, kind):
    path = write(tmp_path / "e.parquet", table(arrow.array([[1, 2], None, [None, 6]], kind)))
    found = np.array(rows(path, 3))
    assert np.isnan(found).tolist() == [[False, False], [True, True], [True, False]]


def test_the_blocks_are_those_of_the_file_in_order_over_row_groups(tmp_path):
    path = tmp_path / "e.parquet"
    vectors = np.arange(600).reshape(300, 2)
    write_embeddings(path, [f"/{row}.mp4" for row in range(300)], vectors)
    parquet.write_table(parquet.read_table(path), path, row_group_size=70)
    opened = embeddings.opened(path)
    starts, blocks = zip(*opened.blocks(64), strict=True)
    assert np.concatenate(blocks).tolist() == vectors.tolist()
    assert list(starts) == np.cumsum([0, *map(len, blocks[:-1])]).tolist()
    wanted = np.array([0, 69, 70, 299])
    assert opened.rows(wanted, 64).tolist() == vectors[wanted].tolist()


def test_texts_are_null_where_the_file_lacks_them(tmp_path):
    opened = embeddings.opened(write_embeddings(tmp_path / "e.parquet", FILES, np.ones((3, 2))))
    assert opened.texts("filepath").to_pylist() == FILES
    assert opened.texts("question").to_pylist() == [None] * 3


def faulty(name):
    lists = arrow.array([[1, 2]] * 3, arrow.list_(arrow.float32()))
    return {
        "lacks the column modality": table(lists).drop_columns("modality"),
        "not lists of float16 or float32": table(arrow.array([[1, 2]] * 3, arrow.list_(arrow.int64()))),
        "not text": table(lists, question=arrow.array([1, 2, 3])),
        "has no rows": table(lists).slice(0, 0),
        "has no embedding with values": table(arrow.array([[], [], []], arrow.list_(arrow.float32()))),
        "3 values in row 1 and 2 in the first one": table(
            arrow.array([[1, 2], [1, 2, 3], None], arrow.list_(arrow.float32()))
        ),
        "its metadata say 8": table(lists).replace_schema_metadata({"tao_embedding": json.dumps({"dimension": 8})}),
        "that are not a JSON object": table(lists).replace_schema_metadata({"tao_embedding": "[1]"}),
    }[name]


@pytest.mark.parametrize(
    "problem",
    [
        "lacks the column modality",
        "not lists of float16 or float32",
        "not text",
        "has no rows",
        "has no embedding with values",
        "3 values in row 1 and 2 in the first one",
        "its metadata say 8",
        "that are not a JSON object",
    ],
)
def test_what_is_not_a_file_of_embeddings_is_refused(tmp_path, problem):
    path = write(tmp_path / "e.parquet", faulty(problem))
    with pytest.raises(BlockedError, match=problem):
        rows(path)


def test_files_that_are_no_parquet_are_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("no parquet")
    whole = write_embeddings(tmp_path / "whole.parquet", FILES, np.ones((3, 2))).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    for name in ("text.parquet", "cut.parquet", "absent.parquet"):
        with pytest.raises(BlockedError, match="cannot be read"):
            embeddings.opened(tmp_path / name)
