"""Mining a pool of embeddings next to numpy and faiss, each in a process of its own, in the same run.

    python benchmarks/mining.py [--rows 1000000] [--queries 1000] [--metrics cosine euclidean manhattan] [--smoke]

The pool is a parquet of float16 embeddings on disk, in 1,000 clusters. Ours streams it; numpy holds
it as float32 and compares 50 queries at a time; faiss (`pip install faiss-cpu`, optional) holds it in a flat
index. Times include reading the parquet; memory is the greatest anonymous memory of the process, of which the libraries
alone have about 0.1 GiB. `same` is the share of (query, rank) places that have the row of ours.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as arrow
from pyarrow import parquet

from tao_skill_bank.mining import embeddings, search
from tao_skill_bank.mining import pool as pools
from tao_skill_bank.mining.metrics import Metric
from tao_skill_bank.mining.miner import CANDIDATES_PER_PICK
from tao_skill_bank.mining.search import Eligible

DIMENSION, TOP_K = 1152, 5
ROWS_AT_ONCE = 20_000
QUERIES_AT_ONCE = 50
LIMIT_SECONDS, LIMIT_GIB = 90, 2.5
SAMPLE_SECONDS = 0.05


def write(path: Path, num_rows: int, seed: int) -> None:
    """Write embeddings around 1,000 centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((1000, DIMENSION), np.float32)
    schema = arrow.schema(
        [
            ("filepath", arrow.string()),
            ("embedding", arrow.list_(arrow.float16(), DIMENSION)),
            ("modality", arrow.string()),
        ]
    )
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=["modality"]) as writer:
        for start in range(0, num_rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, num_rows - start)
            noise = random.standard_normal((count, DIMENSION), np.float32)
            vectors = (centres[random.integers(0, 1000, count)] + noise).astype(np.float16)
            column = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), DIMENSION)
            names = [f"/pool/clips/{row:09d}.mp4" for row in range(start, start + count)]
            writer.write_table(arrow.table([names, column, ["vision"] * count], schema=schema))


def ours(pool: Path, queries: Path, metric: str) -> Any:
    """Search as `tao-skills data mine` does: the paths are checked and sorted, and spare candidates are found."""
    wanted = embeddings.opened(queries)
    rows = pools.read(embeddings.opened(pool), None)
    vectors = wanted.rows(np.arange(wanted.num_rows))
    eligible = Eligible(rows.is_open[None], np.zeros(len(vectors), np.int64))
    count = TOP_K * CANDIDATES_PER_PICK
    return search.nearest(rows.embeddings, vectors, Metric(metric), eligible, rows.order, count).rows[:, :TOP_K]


def whole(path: Path) -> Any:
    """Return a whole column as float32."""
    table = parquet.read_table(path, columns=["embedding"])
    values = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column(0).chunks])
    return values.reshape(-1, DIMENSION).astype(np.float32)


def plain_numpy(pool: Path, queries: Path, metric: str) -> Any:
    """Compare some queries after the other with all rows, and sort the nearest of each."""
    rows, wanted, found = whole(pool), whole(queries), []
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    squares = np.einsum("ij,ij->i", rows, rows) if metric == "euclidean" else np.float32(0)
    for start in range(0, len(wanted), QUERIES_AT_ONCE):
        part = wanted[start : start + QUERIES_AT_ONCE]
        if metric == "manhattan":
            distances = np.array([np.abs(rows - query).sum(axis=1) for query in part])
        else:
            distances = squares - (2 if metric == "euclidean" else 1) * (part @ rows.T)
        for each in distances:
            nearest = np.argpartition(each, TOP_K)[:TOP_K]
            found.append(nearest[np.argsort(each[nearest])])
    return np.array(found)


def faiss_flat(pool: Path, queries: Path, metric: str) -> Any:
    """Search a flat index, which is exact up to float32."""
    import faiss

    kinds = {"cosine": faiss.METRIC_INNER_PRODUCT, "euclidean": faiss.METRIC_L2, "manhattan": faiss.METRIC_L1}
    rows, wanted = whole(pool), whole(queries)
    if metric == "cosine":
        faiss.normalize_L2(rows)
        faiss.normalize_L2(wanted)
    index = faiss.IndexFlat(DIMENSION, kinds[metric])
    index.add(rows)
    del rows
    return index.search(wanted, TOP_K)[1]


WAYS = {"ours": ours, "numpy": plain_numpy, "faiss": faiss_flat}


class Memory(threading.Thread):
    """Watches the anonymous memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._process = psutil.Process()

    def run(self) -> None:
        while True:
            usage = self._process.memory_info()
            self.most = max(self.most, usage.rss - usage.shared)
            time.sleep(SAMPLE_SECONDS)


def run_alone(way: str, pool: Path, queries: Path, metric: str, out: Path) -> None:
    """Measure one way in this process and write what it found."""
    memory = Memory()
    memory.start()
    began = time.perf_counter()
    rows = WAYS[way](pool, queries, metric)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    np.save(out, rows)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime, memory.most / 2**30]))


def measure(way: str, folder: Path, metric: str, threads: int) -> tuple[list[float], Any]:
    """Return (seconds, seconds of all cores, GiB) and the rows, or why there are none."""
    if way == "faiss" and importlib.util.find_spec("faiss") is None:
        return [], "faiss-cpu is not installed"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    out = folder / "rows.npy"
    paths = [folder / "pool.parquet", folder / "queries.parquet"]
    command = [sys.executable, __file__, "--alone", way, *map(str, paths), metric, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or ["killed: out of memory"])[-1]
    return json.loads(done.stdout), np.load(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--metrics", nargs="*", default=["cosine", "euclidean", "manhattan"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the pool is made; a temporary folder by default")
    parser.add_argument("--smoke", action="store_true", help="few rows and queries")
    parser.add_argument("--alone", nargs=5, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.alone:
        way, pool, queries, metric, out = flags.alone
        run_alone(way, Path(pool), Path(queries), metric, Path(out))
        return
    num_rows, num_queries = (5000, 20) if flags.smoke else (flags.rows, flags.queries)
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        write(Path(name, "pool.parquet"), num_rows, 1)
        write(Path(name, "queries.parquet"), num_queries, 2)
        load = os.getloadavg()[0]
        print(
            f"{num_rows:,} rows of {DIMENSION} float16, {num_queries:,} queries, top {TOP_K}, {flags.threads} threads, "
            f"load before {load:.1f}; limit of 1,000,000 rows: {LIMIT_SECONDS} s, {LIMIT_GIB} GiB\n\n"
            "| metric | by | s | core s | GiB | same |\n|---|---|---|---|---|---|"
        )
        for metric in flags.metrics:
            first: Any = None
            for way in flags.ways:
                numbers, rows = measure(way, Path(name), metric, flags.threads)
                if not numbers:
                    print(f"| {metric} | {way} | {rows} | | | |", flush=True)
                    continue
                first = rows if first is None else first
                same = f"{100 * (rows == first).mean():.2f} %"
                seconds, core_seconds, gib = numbers
                print(f"| {metric} | {way} | {seconds:.1f} | {core_seconds:.1f} | {gib:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
