"""The job list and its writers against SQLite in WAL mode with the same records: whole processes, medians.

    python benchmarks/jobs.py [--records 10000] [--writes 1000] [--rounds 5]

The list is what `tao-skills jobs` prints; SQLite's row only reads and sorts. The writers are 4 processes that append
transitions to one job together, each on disk before the next; lost ones are counted afterwards.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tao_skill_bank.contracts import JobRecord, State, Transition, to_json
from tao_skill_bank.jobs.store import JobStore, new_job_id
from tao_skill_bank.runs.run_directory import masked_json

NUM_WRITERS = 4
WRITE = """
import sys
from pathlib import Path
from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.job_store import JobStore
for number in range(int(sys.argv[3])):
    moved = Transition("2026-01-01T00:00:00.000+00:00", State.RUNNING, f"{sys.argv[4]}-{number}", "backend")
    JobStore(Path(sys.argv[1], "jobs")).transition(sys.argv[2], moved)
"""
SQLITE_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1] + "/jobs.sqlite", timeout=60, isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")
for number in range(int(sys.argv[3])):
    connection.execute("INSERT INTO transitions VALUES (?, ?)", (sys.argv[2], f"{sys.argv[4]}-{number}"))
"""
SQLITE_LIST = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1] + "/jobs.sqlite").execute("SELECT text FROM records ORDER BY submitted DESC")
for text, in rows.fetchall()[:20]:
    record = json.loads(text)
    print(record["id"], record["transitions"][-1]["state"], record["results_dir"])
"""


def fill(folder: Path, num_records: int) -> str:
    """Write records of ended jobs into both stores, and one live job; return the live one's id."""
    (folder / "jobs").mkdir()
    connection = sqlite3.connect(folder / "jobs.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE records (id TEXT PRIMARY KEY, submitted TEXT, text TEXT)")
    connection.execute("CREATE TABLE transitions (id TEXT, message TEXT)")
    for number in range(num_records):
        record = _record(number)
        text = masked_json(to_json(record))
        (folder / "jobs" / f"{record.id}.json").write_text(text, encoding="utf-8")
        connection.execute("INSERT INTO records VALUES (?, ?, ?)", (record.id, record.submitted_at, text))
    connection.commit()
    live = JobRecord(new_job_id("cosmos-rl", "train"), "local", "cosmos-rl", "skill", "train", "/data/live", _moment(0))
    JobStore(folder / "jobs").create(live)
    return live.id


def _record(number: int) -> JobRecord:
    moved = tuple(
        Transition(_moment(number), state, "Of a benchmark.", "backend")
        for state in (State.PENDING, State.RUNNING, State.COMPLETE)
    )
    names = ("local", "cosmos-rl", "tao-finetune-cosmos-reason", "train", f"/data/run_{number}")
    job_id = new_job_id("cosmos-rl", "train")
    return JobRecord(job_id, *names, _moment(number), transitions=moved, terminal_state=State.COMPLETE)


def _moment(number: int) -> str:
    days, seconds = divmod(number, 86_400)
    hours, rest = divmod(seconds, 3_600)
    return f"2026-01-{days + 1:02d}T{hours:02d}:{rest // 60:02d}:{rest % 60:02d}.000+00:00"


def seconds_of(*commands: list[str], state: Path) -> float:
    """Return how long commands take together."""
    began = time.perf_counter()
    environment = {**os.environ, "TAO_STATE_DIR": str(state)}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in running]
    assert not any(codes), codes
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--writes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = fill(folder, arguments.records)
        (folder / "jobs" / f"{live}.json").rename(folder / "live.json")  # the list asks for no job
        lists = {"tao-skills jobs": ["-m", "tao_skill_bank", "jobs"], "SQLite": ["-c", SQLITE_LIST, name]}
        print(f"| {arguments.records} records, list | median s |\n|---|---|")
        for title, words in lists.items():
            taken = [seconds_of([sys.executable, *words], state=folder) for _ in range(arguments.rounds)]
            print(f"| {title} | {statistics.median(taken):.2f} |")
        (folder / "live.json").rename(folder / "jobs" / f"{live}.json")
        print(f"| {arguments.writes} writes of {NUM_WRITERS} processes | s | kept |\n|---|---|---|")
        each = str(arguments.writes // NUM_WRITERS)
        for title, code in {"job records": WRITE, "SQLite": SQLITE_WRITE}.items():
            commands = [[sys.executable, "-c", code, name, live, each, str(writer)] for writer in range(NUM_WRITERS)]
            seconds = seconds_of(*commands, state=folder)
            print(f"| {title} | {seconds:.1f} | {_kept(folder, live, title)} |")


def _kept(folder: Path, live: str, title: str) -> int:
    if title == "SQLite":
        found: int = sqlite3.connect(folder / "jobs.sqlite").execute("SELECT count(*) FROM transitions").fetchone()[0]
        return found
    record = json.loads((folder / "jobs" / f"{live}.json").read_text(encoding="utf-8"))
    return len(record["transitions"])


if __name__ == "__main__":
    main()
