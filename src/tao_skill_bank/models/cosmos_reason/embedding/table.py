"""The parquet of embeddings, with the columns that mining reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.mining.embeddings import METADATA_KEY, TEXTS
from tao_skill_bank.models.cosmos_reason.feature_file import write_whole
from tao_skill_bank.runs import fencing

ROWS_AT_ONCE = 8192


def write(path: Path, texts: Sequence[Mapping[str, str | None]], vectors: Any, settings: Mapping[str, Any]) -> None:
    """Write rows atomically.

    Args:
        path: the file.
        texts: of every row, the columns of texts by their names.
        vectors: a sequence of float16 arrays (dimension,), one per row.
        settings: what the file says of its embeddings; the dimension is added.

    Raises:
        JobFailedError: another process has superseded this one.

    """
    fencing.require_current()
    write_whole(path, lambda work: _write(work, texts, vectors, settings))


def _write(work: Path, texts: Sequence[Mapping[str, str | None]], vectors: Any, settings: Mapping[str, Any]) -> None:
    import numpy as np
    import pyarrow as arrow
    from pyarrow import parquet

    dimension = len(vectors[0])
    about = {METADATA_KEY: json.dumps({**settings, "dimension": dimension}, sort_keys=True)}
    embedding = arrow.list_(arrow.float16(), dimension)
    first, *others = TEXTS
    fields = [(first, arrow.string()), ("embedding", embedding), *((name, arrow.string()) for name in others)]
    schema = arrow.schema(fields, metadata=about)
    compression = dict.fromkeys(TEXTS, "zstd") | {"embedding.list.element": "none"}
    with parquet.ParquetWriter(work, schema, compression=compression, use_dictionary=["modality"]) as writer:
        for start in range(0, len(texts), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            values = arrow.array(np.concatenate(vectors[some]))
            columns = {name: [row[name] for row in texts[some]] for name in TEXTS}
            columns["embedding"] = arrow.FixedSizeListArray.from_arrays(values, dimension)
            writer.write_table(arrow.table(columns, schema=schema))
