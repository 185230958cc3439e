"""Parquet files of embeddings: what they say of themselves, and their rows in blocks, so that no file is held whole."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import not_checked, warning
from tao_skill_bank.errors import BlockedError, MissingExtraError

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Integers, Vectors


REQUIRED = ("filepath", "embedding", "modality")
TEXTS = ("filepath", "modality", "question", "record_id", "content_sha256")
METADATA_KEY = b"tao_embedding"
STREAM_BYTES = 1 << 23  # of a column that is read at once
FIX = (
    "Write it with the action `embed`, or with the columns filepath, embedding (lists of float16 or float32), modality."
)


@dataclass(frozen=True)
class Embeddings:
    """One parquet file of embeddings.

    Attributes:
        columns: the names of its columns.
        model: the model, its checkpoint and the settings that made them; None where the file does not say.

    """

    path: Path
    num_rows: int
    dimension: int
    columns: tuple[str, ...]
    model: dict[str, Any] | None = field(default=None)

    def texts(self, name: str) -> Any:
        """Return a column of texts as an Arrow array; all null where the file lacks it."""
        import pyarrow as arrow
        from pyarrow import parquet

        if name not in self.columns:
            return arrow.nulls(self.num_rows, arrow.large_string())
        with _reading(self.path):
            table = parquet.read_table(self.path, columns=[name], partitioning=None)
            # a chunk of large_string holds more than 2 GiB of paths
            return table.column(name).cast(arrow.large_string()).combine_chunks()

    def blocks(self, num_rows: int) -> "Iterator[tuple[int, Vectors]]":
        """Yield (first row, vectors of shape (rows, dimension) as they are stored); the next one is read meanwhile.

        A row without an embedding is NaN.

        Raises:
            BlockedError: the file cannot be read, or an embedding has another dimension.

        """
        with ThreadPoolExecutor(1) as reader, _reading(self.path):
            batches = self._batches(num_rows)
            start, coming = 0, reader.submit(next, batches, None)
            while (vectors := coming.result()) is not None:
                coming = reader.submit(next, batches, None)
                yield start, vectors
                start += len(vectors)

    def rows(self, wanted: "Integers", rows_at_once: int = 8192) -> "Vectors":
        """Return the float32 vectors of some rows, which are in ascending order. Raises like `blocks`."""
        import numpy as np

        found = np.empty((len(wanted), self.dimension), np.float32)
        for start, vectors in self.blocks(rows_at_once):
            first, last = np.searchsorted(wanted, (start, start + len(vectors)))
            found[first:last] = vectors[wanted[first:last] - start]
        return found

    def _batches(self, num_rows: int) -> "Iterator[Vectors]":
        from pyarrow import parquet

        with parquet.ParquetFile(self.path, buffer_size=STREAM_BYTES, pre_buffer=False) as file:
            first = 0
            for batch in file.iter_batches(num_rows, columns=["embedding"]):
                yield _vectors(batch.column(0), self.dimension, self.path, first)
                first += batch.num_rows


def opened(path: Path) -> Embeddings:
    """Return what a parquet of embeddings says of itself.

    Raises:
        BlockedError: it cannot be read, lacks a column, has one of another type, or has no rows.
        MissingExtraError: pyarrow or numpy is not installed.

    """
    _require_libraries()
    from pyarrow import parquet

    with _reading(path):
        with parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
        _check_columns(path, schema)
        if not num_rows:
            raise _malformed(path, "has no rows", "Embed at least one clip.")
        model = _model(path, schema.metadata or {})
        dimension = _dimension(path, schema.field("embedding").type, model)
        return Embeddings(path, num_rows, dimension, tuple(schema.names), model)


def require_comparable(queries: Embeddings, pool: Embeddings) -> None:
    """Refuse embeddings of two models or of two dimensions. Raises BlockedError."""
    fix = "Embed both with the same model, checkpoint and settings."
    if queries.dimension != pool.dimension:
        message = f"{queries.path} has embeddings of {queries.dimension} values and {pool.path} of {pool.dimension}."
        raise BlockedError.of("embeddings_not_comparable", message, fix, path=str(pool.path))
    ours, theirs = queries.model or {}, pool.model or {}
    other = [key for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]]
    if other:
        told = "; ".join(f"{key}: {_shown(ours[key])} and {_shown(theirs[key])}" for key in other)
        message = f"{queries.path} and {pool.path} were not embedded alike ({told}): their distances mean nothing."
        raise BlockedError.of("embeddings_not_comparable", message, fix, path=str(pool.path))


def findings(queries: Embeddings, pool: Embeddings) -> list[Finding]:
    """Return what is to be known of the distances between the embeddings of two files."""
    path, found = str(pool.path), []
    if queries.model is None or pool.model is None:
        names = " and ".join(str(each.path) for each in (queries, pool) if each.model is None)
        message = f"{names} do not say which model made the embeddings, so whether they can be compared is open."
        fix = "Embed both with the action `embed`, which writes it down."
        found.append(not_checked("embedding_model_unknown", message, fix, path))
    ours, theirs = (sorted(each.texts("modality").drop_null().unique().to_pylist()) for each in (queries, pool))
    if set(ours).isdisjoint(theirs):
        message = f"The queries are of the modality {', '.join(ours)} and the pool is of {', '.join(theirs)}."
        fix = "Compare embeddings of one modality, unless the model has one space for both."
        found.append(warning("modalities_differ", message, fix, path))
    return found


def _require_libraries() -> None:
    for module in ("numpy", "pyarrow", "scipy"):
        try:
            __import__(module)
        except ImportError:
            raise MissingExtraError.for_module(module, "train") from None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as arrow

    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise _malformed(path, f"cannot be read: {reason}", "Give an existing file, or write it again.") from None


def _check_columns(path: Path, schema: Any) -> None:
    from pyarrow import types

    if missing := [name for name in REQUIRED if name not in schema.names]:
        raise _malformed(path, f"lacks the column {', '.join(missing)}; it has {', '.join(schema.names)[:200]}", FIX)
    kind = schema.field("embedding").type
    is_list = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    if not is_list or not (types.is_float16(kind.value_type) or types.is_float32(kind.value_type)):
        raise _malformed(path, f"has embeddings of the type {kind}, not lists of float16 or float32", FIX)
    for name in TEXTS:
        found = schema.field(name).type if name in schema.names else None
        if found is not None and not _is_text(found):
            raise _malformed(path, f"has {name} of the type {found}, not text", FIX)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _model(path: Path, metadata: dict[bytes, bytes]) -> dict[str, Any] | None:
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        model = None
    if not isinstance(model, dict):
        raise _malformed(path, f"has metadata {METADATA_KEY.decode()} that are not a JSON object", FIX)
    return model


def _dimension(path: Path, kind: Any, model: dict[str, Any] | None) -> int:
    """Return the values of an embedding: by the type, else those of the first embedding."""
    from pyarrow import parquet, types

    if types.is_fixed_size_list(kind):
        found = int(kind.list_size)
    else:
        with parquet.ParquetFile(path, buffer_size=STREAM_BYTES, pre_buffer=False) as file:
            batches = file.iter_batches(1024, columns=["embedding"])
            found = next((len(value) for batch in batches for value in batch.column(0) if value.is_valid), 0)
    if not found:
        raise _malformed(path, "has no embedding with values", FIX)
    stated = (model or {}).get("dimension", found)
    if stated != found:
        raise _malformed(path, f"has embeddings of {found} values, but its metadata say {_shown(stated)}", FIX)
    return found


def _vectors(column: Any, dimension: int, path: Path, first: int) -> "Vectors":
    import numpy as np
    import pyarrow as arrow
    from pyarrow import compute, types

    if not types.is_fixed_size_list(column.type):
        lengths = compute.fill_null(compute.list_value_length(column), dimension).to_numpy(zero_copy_only=False)
        if wrong := np.flatnonzero(lengths != dimension).tolist():
            what = f"has {lengths[wrong[0]]} values in row {first + wrong[0]} and {dimension} in the first one"
            raise _malformed(path, what, "Embed all clips with one model.")
    values = column.flatten()
    if values.null_count:
        values = values.cast(arrow.float32())
    vectors: Any = values.to_numpy(zero_copy_only=False).reshape(-1, dimension)
    if not column.null_count:
        return vectors  # type: ignore[no-any-return]
    whole = np.full((len(column), dimension), np.nan, vectors.dtype)
    whole[column.is_valid().to_numpy(zero_copy_only=False)] = vectors
    return whole


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:80]


def _malformed(path: Path, what: str, fix: str) -> BlockedError:
    return BlockedError.of("embeddings_unusable", f"{path} {what}.", fix, path=str(path))
