"""Logs and metrics of long trainings: `logs` and `diagnose` against plain `re` and a plain read, CPU and memory.

    python benchmarks/logs.py [--megabytes 256] [--lines 1000000]

Each row is its own process. The log holds ordinary training lines ("tokens/s" in each), once as lines and once as a
single line. The peer that searches with `re` looks for the same hints and known failures in every line; it gets the
first hundredth of the log, since it is slow.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURE = """
import json, resource, sys, time
from pathlib import Path
path = Path(sys.argv[1])
{body}
seconds = time.process_time()
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": seconds, "mib": mib}}))
"""
LOGS = """
from tao_skill_bank.core.masked_log import masked_log
from tao_skill_bank.platforms.run_files import log_text
with open("/dev/null", "w") as out:
    for piece in masked_log(log_text(path, lambda: True, follow=False)):
        out.write(piece)
"""
DIAGNOSE = "from tao_skill_bank.jobs import diagnose; diagnose.diagnose(path)"
LOGS_BY_RE = """
from tao_skill_bank.core.redact import Masker
mask = Masker()
with path.open(encoding="utf-8", errors="replace") as file, open("/dev/null", "w") as out:
    for line in file:
        out.write(mask(line.rstrip("\\n")) + "\\n")
"""
DIAGNOSE_BY_RE = """
from tao_skill_bank.core.redact import redacted
from tao_skill_bank.jobs.failure_rules import rules
with path.open(encoding="utf-8", errors="replace") as file:
    for line in file:
        line = redacted(line[:2000])
        lowered = line.lower()
        found = [rule for rule in rules() if rule.matches(line, lowered)]
"""
READ = """
with path.open("rb") as file:
    while block := file.read(1 << 18):
        b"CUDA out of memory" in block
"""
REPORT = """
from tao_skill_bank.report import write_report
from tao_skill_bank.runs.run_directory import RunDirectory
write_report({"": RunDirectory(path)}, path / "report.html")
"""
RESULT = """
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory
results.read(RunDirectory(path))
"""
JSON_LOADS = """
with (path / "metrics.jsonl").open("rb") as file:
    for line in file:
        json.loads(line)
"""


def write_log(path: Path, num_bytes: int, end: str) -> None:
    """Write ordinary training lines, each with another end than a line feed for a single line."""
    numbers = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        step = 0
        while file.tell() < num_bytes:
            for _ in range(1000):
                step += 1
                file.write(
                    f"2026-11-30 12:00:00,123 INFO trainer: step {step}/600000 loss {numbers.random() * 3:.4f} "
                    f"grad_norm {numbers.random():.3f} lr 1.5e-05 tokens/s {numbers.randint(9000, 90000)} mem 61.2{end}"
                )


def write_metrics(folder: Path, num_lines: int) -> None:
    numbers = random.Random(0)
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, num_lines + 1):
            values = {"train/loss_avg": numbers.random(), "optimizer/lr": 1e-5, "train/grad_norm": numbers.random()}
            line = {"time": "2026-11-30T12:00:00.123+00:00", "step": step, "epoch": step / 1000, **values}
            file.write(json.dumps(line) + "\n")


def measured(body: str, path: Path) -> dict[str, float]:
    finished = subprocess.run(
        [sys.executable, "-c", MEASURE.format(body=body), str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(finished.stdout)
    return found


def write_status(folder: Path, num_lines: int) -> None:
    with (folder / "status.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, num_lines + 1):
            progress = {
                "state": "RUNNING",
                "step": step,
                "total": num_lines,
                "eta_seconds": 12.5,
                "message": f"step {step}",
            }
            file.write(json.dumps({"time": "2026-11-30T12:00:00.123+00:00", **progress}) + "\n")


def write_errors(path: Path, num_lines: int) -> None:
    """Write the hang of eight ranks: every line is a symptom."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_lines):
            rank = number % 8
            file.write(
                f"[rank{rank}]:[E1206 18:44:12.7 ProcessGroupNCCL.cpp:632] [Rank {rank}] Watchdog caught collective "
            )
            file.write(f"operation timeout: WorkNCCL(SeqNum={number}, OpType=ALLREDUCE) ran for 600061 milliseconds\n")


def show_log(title: str, body: str, path: Path) -> None:
    found = measured(body, path)
    speed = path.stat().st_size / 1e6 / found["seconds"]
    print(f"| {title} | {speed:.1f} | {found['mib']:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--lines", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines, one, part, errors = (folder / title for title in ("lines.log", "one.log", "part.log", "errors.log"))
        write_log(lines, arguments.megabytes << 20, "\n")
        write_log(one, arguments.megabytes << 20, " ")
        write_log(part, (arguments.megabytes << 20) // 100, "\n")
        print(f"| {arguments.megabytes} MiB of log | MB/s of CPU | peak MiB |\n|---|---|---|")
        show_log("plain read, one word searched", READ, lines)
        show_log("logs", LOGS, lines)
        show_log("logs, one line", LOGS, one)
        show_log("logs by `re`, line by line", LOGS_BY_RE, part)
        show_log("diagnose", DIAGNOSE, lines)
        show_log("diagnose, one line", DIAGNOSE, one)
        show_log("diagnose by `re`, line by line", DIAGNOSE_BY_RE, part)
        write_errors(errors, arguments.lines // 50)
        show_log("diagnose, every line a symptom", DIAGNOSE, errors)
        write_metrics(folder, arguments.lines)
        write_status(folder, arguments.lines)
        print(f"\n| {arguments.lines:,} metric and status lines | CPU s | peak MiB |\n|---|---|---|")
        for title, body in {"json.loads of every line": JSON_LOADS, "result": RESULT, "report": REPORT}.items():
            found = measured(body, folder)
            print(f"| {title} | {found['seconds']:.1f} | {found['mib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
