"""A pool of clips: its rows in order, their records, and which of them may be mined as far as names and records say."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tao_skill_bank.core.listing import MAX_LISTED
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.mining.embeddings import Embeddings
from tao_skill_bank.mining.held_out import HeldOut
from tao_skill_bank.mining.leaks import Excluded, Reason
from tao_skill_bank.mining.mined_log import Mined
from tao_skill_bank.mining.pool_records import Annotations

if TYPE_CHECKING:
    from tao_skill_bank.mining.arrays import Integers, Mask

FIX = "Write absolute paths of the clips under filepath."


@dataclass
class Pool:
    """The rows of a pool.

    Attributes:
        embeddings: its file.
        paths: the file of each row, an Arrow array of text.
        contents: the SHA-256 that each file had when it was embedded, an Arrow array of text.
        order: all rows by path, then by question and record.
        is_open: which rows may be mined.
        annotations: of a labelled pool.
        records: positions of the records of each row; empty for a pool without records.
        counts: rows that may not be mined, by reason.
        first: of every reason, the first files with what they equal.

    """

    embeddings: Embeddings
    paths: Any
    contents: Any
    order: "Integers"
    is_open: "Mask"
    annotations: Annotations | None = None
    records: list[list[int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def is_labelled(self) -> bool:
        return self.annotations is not None

    def path(self, row: int) -> str:
        """Return the file of a row."""
        return str(self.paths[row].as_py())

    def content(self, row: int) -> str | None:
        """Return the SHA-256 that the file of a row had when it was embedded, where that is known."""
        content: str | None = self.contents[row].as_py()
        return content

    def files(self) -> list[str]:
        """Return every file of the pool once."""
        files: list[str] = self.paths.unique().to_pylist()
        return files

    def close(self, rows: "Mask", reason: Reason) -> None:
        """Exclude the rows of a mask, of those that are not excluded yet."""
        import numpy as np

        new = np.flatnonzero(rows & self.is_open)
        self.is_open[new] = False
        self._count(reason, [(self.path(int(row)), "") for row in new[:MAX_LISTED]], len(new))

    def close_files(self, excluded: dict[str, Excluded]) -> None:
        """Exclude every row of some files."""
        import numpy as np

        by_reason: dict[Reason, list[tuple[str, str]]] = {}
        for path, why in sorted(excluded.items()):
            by_reason.setdefault(why.reason, []).append((path, why.other))
        for reason, named in by_reason.items():
            new = np.flatnonzero(_is_in(self.paths, [path for path, _ in named]) & self.is_open)
            self.is_open[new] = False
            self._count(reason, named, len(new))

    def _count(self, reason: Reason, named: Iterable[tuple[str, str]], count: int) -> None:
        if count:
            self.counts[reason] += count
            listed = self.first.setdefault(reason, [])
            listed += [{"path": path, "other": other} for path, other in named][: MAX_LISTED - len(listed)]


def read(embeddings: Embeddings, annotations: Annotations | None) -> Pool:
    """Return the rows of a pool, repeated ones excluded. Raises BlockedError for a path that is not absolute."""
    import numpy as np
    import pyarrow as arrow
    from pyarrow import compute

    paths = embeddings.texts("filepath")
    is_absolute = compute.fill_null(compute.starts_with(paths, "/"), False).to_numpy(zero_copy_only=False)
    if not is_absolute.all():
        row = int(np.flatnonzero(~is_absolute)[0])
        message = f"Row {row} of {embeddings.path} names no absolute path: {paths[row].as_py()!r}."
        raise BlockedError.of("pool_path_invalid", message, FIX, path=str(embeddings.path))
    columns = {"filepath": paths}
    columns |= {name: embeddings.texts(name) for name in ("question", "record_id") if name in embeddings.columns}
    table = arrow.table(columns)
    keys = [(name, "ascending") for name in columns]
    order = compute.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)
    pool = Pool(embeddings, paths, embeddings.texts("content_sha256"), order, np.ones(len(paths), bool), annotations)
    pool.close(_repeats(table, order), "repeated_row")
    if annotations:
        ids = columns["record_id"].to_pylist() if "record_id" in columns else [None] * len(paths)
        pool.records = annotations.rows(paths.to_pylist(), ids)
        pool.close(np.array([not each for each in pool.records]), "without_record")
    return pool


def exclude_known(pool: Pool, held_out: HeldOut, mined: Mined) -> None:
    """Exclude the rows that names, stated contents and sources rule out."""
    import numpy as np

    pool.close(_is_in(pool.paths, held_out.paths), "same_file_held_out")
    pool.close(_is_in(pool.paths, mined.paths) | _is_in(pool.contents, mined.contents), "mined_before")
    if pool.annotations and held_out.sources:
        leaking = {record for record, source in enumerate(pool.annotations.sources) if source in held_out.sources}
        pool.close(np.array([not leaking.isdisjoint(each) for each in pool.records]), "same_source_held_out")


def _repeats(table: Any, order: "Integers") -> "Mask":
    """Return which rows have the path, question and record of one before them in the order."""
    import numpy as np
    from pyarrow import compute

    is_same = np.ones(len(order) - 1, bool)
    for name in table.column_names:
        ordered = compute.fill_null(table.column(name), "").take(order)
        is_same &= compute.equal(ordered[1:], ordered[:-1]).to_numpy()
    found = np.zeros(len(order), bool)
    found[order[1:]] = is_same
    return found


def _is_in(values: Any, wanted: Iterable[str]) -> "Mask":
    """Return which texts are among some; null is in none."""
    import numpy as np
    import pyarrow as arrow
    from pyarrow import compute

    known = arrow.array(sorted(wanted), arrow.large_string())
    if not len(known):
        return np.zeros(len(values), bool)
    found: Mask = compute.is_in(values, value_set=known).to_numpy(zero_copy_only=False)
    return found
