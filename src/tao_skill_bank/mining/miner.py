"""Mines a pool: searches, chooses, checks what was chosen, and searches again for what may not be mined."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.data.check.answers import MAX_CLASSES
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.mining import embeddings, held_out, mined_log, outputs, pool_records, search, summary
from tao_skill_bank.mining import pool as pools
from tao_skill_bank.mining import queries as query_files
from tao_skill_bank.mining.embeddings import Embeddings
from tao_skill_bank.mining.leaks import Checker
from tao_skill_bank.mining.metrics import Metric
from tao_skill_bank.mining.mined_log import Mined
from tao_skill_bank.mining.pool import Pool
from tao_skill_bank.mining.queries import Queries
from tao_skill_bank.mining.request import Request
from tao_skill_bank.mining.search import NO_ROW, Eligible
from tao_skill_bank.mining.selection import Candidates, Choice, choose

CANDIDATES_PER_PICK = 4  # found at once: some leak, and diversity chooses among them

Report = Callable[[str], None]


@dataclass(frozen=True)
class Mining:
    """What was mined.

    Attributes:
        summary: the content of mined_summary.json.
        findings: what is to be known of it.
        is_reused: the folder was there already, from the same mining.

    """

    summary: dict[str, Any]
    findings: tuple[Finding, ...]
    is_reused: bool


def mine(request: Request, report: Report = lambda _: None) -> Mining:
    """Mine the pool into the new folder `request.out`; after a kill the same request completes it.

    The folder appears before its clips are logged. A repeated request that finds its folder logs what is missing;
    one that finds none mines the same again, since its own lines of the log do not count.

    Raises:
        RequestError: the request contradicts itself.
        BlockedError: a file cannot be used, the pool is the KPI set, or nothing may be mined.
        ConflictError: the folder exists and is not of this mining.
        MissingExtraError: a library is not installed.

    """
    request.require_valid()
    mining = request.digest()
    with mined_log.locked(request.log):
        mined = mined_log.read(request.log, mining)
        document = outputs.existing(request.out, mining)
        is_reused = document is not None
        if document is None:
            document = _Miner(request, mined, report).run(mining)
        mined_log.append(request.log, mining, document["clips"], mined)
    findings = tuple(Finding(**found) for found in document["findings"])
    return Mining(document, findings, is_reused)


class _Miner:
    """One mining, from its files to its folder."""

    def __init__(self, request: Request, mined: Mined, report: Report) -> None:
        self._request = request
        self._mined = mined
        self._report = report
        self._metric = Metric(request.metric)

    def run(self, mining: str) -> dict[str, Any]:
        request = self._request
        wanted, embedded = embeddings.opened(request.queries), embeddings.opened(request.pool)
        embeddings.require_comparable(wanted, embedded)
        queries = self._queries(wanted)
        annotations = request.annotations and pool_records.read(
            request.annotations.absolute(), request.media, request.source_key
        )
        pool = pools.read(embedded, annotations or None)
        kpi_files = wanted.texts("filepath").unique().drop_null().to_pylist()
        held = held_out.read(kpi_files, request.against, request.source_key)
        checker = Checker(held, Mined() if request.mines_again else self._mined, request.compares_frames)
        self._refuse_held_out(pool, checker)
        pools.exclude_known(pool, held, checker.mined)
        choice = self._choose(pool, queries, checker, wanted)
        found = embeddings.findings(wanted, embedded)
        result = summary.Result(request, replace(queries, findings=(*queries.findings, *found)), pool, checker, choice)
        records = summary.records(result, self._mined)
        document = summary.document(result, mining, self._mined, kpi_files)
        outputs.write(request.out, document, records, summary.unlabelled(document, checker))
        return document

    def _queries(self, wanted: Embeddings) -> Queries:
        import numpy as np

        queries = query_files.of_embeddings(wanted, self._request.gaps)
        is_usable = np.zeros(wanted.num_rows, bool)
        for start, vectors in wanted.blocks(search.MOST_ROWS):
            norms = self._metric.norms(vectors.astype(np.float32))
            is_usable[start : start + len(vectors)] = self._metric.is_usable(norms)
        return queries.usable(is_usable, wanted.path)

    def _refuse_held_out(self, pool: Pool, checker: Checker) -> None:
        """Refuse a pool all of whose clips are held out: it is the KPI set itself, or a copy of it."""
        from pyarrow import compute

        if compute.count_distinct(pool.paths).as_py() > len(checker.held_out.paths):
            return
        if checker.held_out_equals(pool.files()):
            message = f"Every clip of the pool {self._request.pool} is one of the KPI or test clips."
            fix = "Give a pool of other clips: what a model is judged on must not be trained on."
            raise BlockedError.of("pool_is_held_out", message, fix, path=str(self._request.pool))

    def _choose(self, pool: Pool, queries: Queries, checker: Checker, wanted: Embeddings) -> Choice:
        """Choose until nothing that was chosen is refused."""
        request, candidates, per_pick = self._request, None, CANDIDATES_PER_PICK
        classes = pool.annotations.classes if pool.annotations else []
        while True:
            if candidates is None or any(
                candidates.are_exhausted(query, request.rules) for query in range(len(queries.used))
            ):
                candidates = self._candidates(pool, queries, wanted, per_pick * request.rules.top_k)
                per_pick *= 2  # a pool with many leaks needs few passes
            choice = choose(candidates, queries.used, request.rules, pool.records, classes)
            if not choice.items:
                raise summary.nothing_mined(pool, candidates.nearest, request)
            rows = {pool.path(item.row): pool.content(item.row) for item in choice.items}
            self._report(f"{len(rows)} clips chosen; looking at what they show")
            leaking = checker.check(rows)
            if not leaking:
                return choice
            pool.close_files(leaking)

    def _candidates(self, pool: Pool, queries: Queries, wanted: Embeddings, count: int) -> Candidates:
        import numpy as np

        rows, places = np.unique([query.row for query in queries.used], return_inverse=True)
        vectors = wanted.rows(rows)[places]
        self._report(f"comparing {len(vectors)} queries with {pool.embeddings.num_rows} rows of the pool")
        found = search.nearest(
            pool.embeddings,
            vectors,
            self._metric,
            self._eligible(pool, queries),
            pool.order,
            min(count, pool.embeddings.num_rows),
        )
        unusable = np.zeros(pool.embeddings.num_rows, bool)
        unusable[found.unusable] = True
        pool.close(unusable, "embedding_unusable")
        if not self._request.rules.diversity:
            return Candidates(found, pool.is_open, self._metric)
        compared = np.unique(found.rows[found.rows != NO_ROW])
        return Candidates(found, pool.is_open, self._metric, compared, pool.embeddings.rows(compared))

    def _eligible(self, pool: Pool, queries: Queries) -> Eligible:
        """Return which rows each query may find: the open ones, of its class where that is asked for."""
        import numpy as np

        if not self._request.rules.same_class or pool.annotations is None:
            return Eligible(pool.is_open[None], np.zeros(len(queries.used), np.int64))
        names, groups = np.unique([query.class_name for query in queries.used], return_inverse=True)
        if len(names) > MAX_CLASSES:
            message = f"The gaps have {len(names)} different right answers: they are open, and no classes."
            raise RequestError.of("classes_open", message, "Leave --same-class out.", path="--same-class")
        rows = np.zeros((len(names), pool.embeddings.num_rows), bool)
        numbers = {name: number for number, name in enumerate(names.tolist())}
        for row, records in enumerate(pool.records):
            for record in records:
                if (number := numbers.get(pool.annotations.classes[record])) is not None:
                    rows[number, row] = True
        return Eligible(rows & pool.is_open, groups)
