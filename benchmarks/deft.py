"""The DEFT loop over several seeds: how far the direction rises that the model never saw, and what the others lose.

    python benchmarks/deft.py [--seeds 3] [--smoke]

Every seed makes other clips and trains in another order; see `demo/deft.py` for the sizes. Recalls are of 200 test
clips a direction, with Wilson's 95 % interval.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from scipy.stats import binomtest

from tao_skill_bank.demo import deft
from tao_skill_bank.runs import summaries
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.samples.vlm import LABELS


def recalls(evaluation: Path) -> dict[str, tuple[float, float, float]]:
    """Return recall, and the ends of its interval, of each direction."""
    found = {}
    for label, row in summaries.read(RunDirectory(evaluation)).get("per_class", {}).items():
        support = int(row.get("support") or 0)
        right = round(float(row.get("recall") or 0.0) * support)
        interval = binomtest(right, support).proportion_ci(method="wilson")
        found[label] = (right / support, interval.low, interval.high)
    return found


def shown(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.1%} ({value[1]:.1%} to {value[2]:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="one seed of a few clips, which proves nothing")
    options = parser.parse_args()
    print("| seed | model | " + " | ".join(LABELS) + " | s |\n|---|---|" + "---|" * (len(LABELS) + 1))
    for seed in range(1 if options.smoke else options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            summary = deft.run(
                Path(folder), smoke=options.smoke, say=lambda line: print(line, file=sys.stderr), seed=seed
            )
            seconds = time.perf_counter() - began
            run = Path(summary["report"]).parent
            for name in ("base on test", "tuned on test"):
                evaluation = run / name.replace(" ", "-")
                if evaluation.is_dir():
                    row = recalls(evaluation)
                    cells = " | ".join(shown(row[label]) for label in LABELS)
                    print(f"| {seed} | {name} | {cells} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
