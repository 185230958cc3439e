"""Gap analysis next to pyarrow with dictionaries, each in a process of its own, in the same run.

    python benchmarks/gaps.py [--rows 5000000] [--ways ours pyarrow] [--smoke]

The results are a JSON list as an evaluation writes it, three yes/no questions per clip, 20 % wrong; the annotations
have one record per question. Both ways join every answer with its record by clip and question and write the wrong ones
as parquet. Ours streams; its peer loads both files with `json`, joins with a dictionary and writes one Arrow table.
Memory is the greatest anonymous memory of the process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as arrow
from pyarrow import parquet

from tao_skill_bank.runs import gaps

QUESTIONS = (
    "Does a collision occur in this clip?",
    "Does a pedestrian cross the road in this clip?",
    "Does a vehicle run a red light in this clip?",
)
ENDING = "Answer with yes or no."
WRONG_SHARE = 5  # one of so many answers
LIMIT_SECONDS, LIMIT_MIB = 90, 500
SAMPLE_SECONDS = 0.05


def answers(num_rows: int) -> Iterator[dict[str, Any]]:
    """Yield entries of results.json."""
    for row in range(num_rows):
        truth, is_wrong = row % 2 == 0, (row * 2654435761 >> 7) % WRONG_SHARE == 0
        said = truth != is_wrong
        yield {
            "video_id": f"videos/clip_{row // 3:08d}.mp4",
            "question": f"{QUESTIONS[row % 3]} {ENDING}",
            "response": "Yes" if said else "No",
            "gt": "Yes" if truth else "No",
            "verdict": "wrong" if is_wrong else "right",
            "read_as": "yes" if said else "no",
            "hit_max_tokens": False,
            "id": f"record_{row}",
        }


def records(num_rows: int) -> Iterator[dict[str, Any]]:
    """Yield the records of the same questions."""
    for row in range(num_rows):
        turns = [
            {"from": "human", "value": f"<video>\n{QUESTIONS[row % 3]} {ENDING}"},
            {"from": "gpt", "value": "Yes" if row % 2 == 0 else "No"},
        ]
        name = f"videos/clip_{row // 3:08d}.mp4"
        yield {"id": f"record_{row}", "video": name, "video_fps": 4.0, "conversations": turns}


def write(path: Path, items: Iterator[dict[str, Any]], indent: int | None) -> None:
    """Write a JSON list in pieces."""
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for item in items:
            file.write(separator + json.dumps(item, indent=indent))
            separator = ",\n"
        file.write("\n]\n")


def ours(folder: Path, out: Path) -> int:
    """Analyse as `tao-skills gaps` does."""
    return gaps.analyze(folder / "results.json", out, folder / "annotations.json", folder).gaps


def plain_pyarrow(folder: Path, out: Path) -> int:
    """Load both files, join by a dictionary, and write one table."""
    known = {}
    for record in json.loads((folder / "annotations.json").read_text()):
        question = record["conversations"][0]["value"].replace("<video>", "").strip()
        known[record["video"], question] = record["id"]
    rows = [
        {
            "video_id": str(folder / entry["video_id"]),
            "question": entry["question"],
            "ground_truth": entry["gt"],
            "response": entry["response"],
            "record_id": known[entry["video_id"], entry["question"]],
        }
        for entry in json.loads((folder / "results.json").read_text())
        if entry["response"].lower().strip() != entry["gt"].lower().strip()
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), out)
    return len(rows)


WAYS = {"ours": ours, "pyarrow": plain_pyarrow}


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


def run_alone(way: str, folder: Path, out: Path) -> None:
    """Measure one way in this process."""
    memory = Memory()
    memory.start()
    began = time.perf_counter()
    found = WAYS[way](folder, out)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime, memory.most / 2**20, found]))


def measure(way: str, folder: Path) -> tuple[list[float], str]:
    """Return (seconds, seconds of all cores, MiB, gaps) and a digest of what was written, or why there is nothing."""
    out = folder / f"{way}.parquet"
    command = [sys.executable, __file__, "--alone", way, str(folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or ["killed: out of memory"])[-1]
    table = parquet.read_table(out, columns=["video_id", "question", "ground_truth", "response", "record_id"])
    out.unlink()
    same = hash(tuple(tuple(column.to_pylist()) for column in table.columns))
    return json.loads(done.stdout), str(same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--folder", type=Path, help="where the files are made; a temporary folder by default")
    parser.add_argument("--smoke", action="store_true", help="few rows")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.alone:
        way, folder, out = flags.alone
        run_alone(way, Path(folder), Path(out))
        return
    num_rows = 20_000 if flags.smoke else flags.rows
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        folder = Path(name)
        write(folder / "results.json", answers(num_rows), 1)
        write(folder / "annotations.json", records(num_rows), None)
        sizes = [(folder / name).stat().st_size / 2**20 for name in ("results.json", "annotations.json")]
        print(
            f"{num_rows:,} answers ({sizes[0]:,.0f} MiB) joined with {num_rows:,} records ({sizes[1]:,.0f} MiB), "
            f"load before {os.getloadavg()[0]:.1f}; limit of 5,000,000: {LIMIT_SECONDS} s, {LIMIT_MIB} MiB\n\n"
            "| by | s | core s | MiB | gaps | rows |\n|---|---|---|---|---|---|"
        )
        first = ""
        for way in flags.ways:
            figures, digest = measure(way, folder)
            if not figures:
                print(f"| {way} | {digest} | | | | |", flush=True)
                continue
            first = first or digest
            seconds, core_seconds, mib, found = figures
            same = "the same" if digest == first else "different"
            print(f"| {way} | {seconds:.1f} | {core_seconds:.1f} | {mib:.0f} | {found:,} | {same} |", flush=True)


if __name__ == "__main__":
    main()
