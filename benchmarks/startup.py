"""Wall time of whole processes: our command line beside a bare interpreter and another typer application.

Run: python benchmarks/startup.py [--runs N]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
VALIDATE = "validate tao-finetune-cosmos-reason train --train DATA/train --eval DATA/val --set train.epoch=3"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "hf --help (peer)": [str(BIN / "hf"), "--help"],
    "tao-skills --help": [str(BIN / "tao-skills"), "--help"],
    "tao-skills validate ...": [str(BIN / "tao-skills"), *VALIDATE.split()],
}
LIMITS_SECONDS = {"tao-skills --help": 0.3, "tao-skills validate ...": 0.5}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs + 1):  # in turn, so that a slow moment of the machine meets them all
            for name, command in COMMANDS.items():
                started = time.perf_counter()
                subprocess.run(command, cwd=folder, capture_output=True, check=True)
                seconds[name].append(time.perf_counter() - started)
    print(f"| command | median s | min s | max s | limit s |   ({runs} runs after one warm-up)")
    print("|---|---|---|---|---|")
    for name, values in seconds.items():
        counted = values[1:]
        limit = LIMITS_SECONDS.get(name, "-")
        print(f"| {name} | {statistics.median(counted):.3f} | {min(counted):.3f} | {max(counted):.3f} | {limit} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
