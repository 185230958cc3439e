"""A search with the real trainer on the tiny model: a bad recipe repaired, and ASHA beside random search.

    python benchmarks/automl_trainings.py [--folder FOLDER] [--seeds 0 1 2] [--only repair random asha]

Repair: the request's own learning rate is 100 times too small; 12 trials of the default algorithm look for a better
one, on the held-out loss. Halving: random search trains every trial to its end; ASHA begins twice as many and lets a
third of them go on from each rung. Printed are the best held-out loss of each and the epochs that were trained for it.
Everything goes through `tao-skills` jobs.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.run import controller, ending
from tao_skill_bank.contracts import Request
from tao_skill_bank.planning import dispatch
from tao_skill_bank.runs.run_directory import RunDirectory, json_lines
from tao_skill_bank.samples import vlm

MODEL = "builtin://tiny-cosmos-reason"
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
GOOD_RATE = 1e-3
HELD_OUT = 96  # records that are split off, so that no time goes into evaluations
SEARCHES = ("repair", "random", "asha")
LOW = GOOD_RATE / 10  # of the halving, whose recipe it is: the best rate is the schema's highest, GOOD_RATE


@dataclass(frozen=True)
class Outcome:
    """What a search cost and found; scores are held-out losses."""

    name: str
    seed: int
    seconds: float
    trials: int
    epochs: int
    recipe: float | None
    best: float

    @property
    def row(self) -> str:
        recipe = "-" if self.recipe is None else f"{self.recipe:.4f}"
        numbers = f"{self.seed} | {self.trials} | {self.epochs} | {self.seconds:.0f} | {recipe} | {self.best:.4f}"
        return f"| {self.name} | {numbers} |"


def search(folder: Path, name: str, seed: int, overrides: dict[str, Any], **options: Any) -> Outcome:
    """Run one search to its end, with the options of `automl:`."""
    run = folder / f"{name}_{seed}"
    request = Request(
        skill="tao-finetune-cosmos-reason",
        action="train",
        datasets={"train": str(folder / "data" / "train")},
        overrides={
            "policy.model_name_or_path": MODEL,
            "policy.lora": LORA,
            "train.train_policy.dataset.test_size": HELD_OUT,
            **overrides,
        },
        results_dir=str(run),
        automl={"seed": seed, **options},
    )
    began = time.monotonic()
    status = dispatch.run(dispatch.plan(request)).wait()
    seconds = time.monotonic() - began
    found = controller.open_search(run)
    entries = found.storage.entries()
    best = ending.best_of(entries)
    assert best is not None, status.message
    assert best.trial.score is not None
    epochs = sum(len(_validations(found.folder(entry.number))) for entry in entries)
    outcome = Outcome(name, seed, seconds, len(entries), epochs, entries[0].trial.score, best.trial.score)
    print(outcome.row, flush=True)
    return outcome


def _validations(run: Path) -> list[dict[str, Any]]:
    """Return what a trial wrote after each epoch that it trained, each as often as it was trained."""
    return [line for line in json_lines(RunDirectory(run).metrics_file) if "val/avg_loss" in line]


def epochs_until(search_folder: Path, loss: float) -> int | None:
    """Return the epochs that all trials together had trained when one first was as good; None when none was."""
    lines = [line for trial in (search_folder / "trials").iterdir() for line in _validations(trial)]
    in_order = sorted(lines, key=lambda line: line["time"])
    return next((place for place, line in enumerate(in_order, 1) if line["val/avg_loss"] <= loss), None)


def repair(folder: Path, seed: int, parallel: int) -> Outcome:
    bad = {"train.optm_lr": GOOD_RATE / 100, "train.epoch": 2}
    ranges = {"train.optm_lr": {"minimum": GOOD_RATE / 100, "maximum": GOOD_RATE}}
    return search(folder, "repair", seed, bad, max_trials=12, parallel=parallel, ranges=ranges)


def halving(folder: Path, name: str, seed: int, arguments: argparse.Namespace) -> Outcome:
    recipe = {"train.optm_lr": LOW, "train.epoch": arguments.epochs}
    own: dict[str, Any] = {"max_trials": arguments.trials}
    if name == "asha":
        own = {"max_trials": 2 * arguments.trials, "max_epochs": arguments.epochs, "min_epochs": 1}
    ranges = {"train.optm_lr": {"minimum": LOW, "maximum": GOOD_RATE}}
    options = {"algorithm": name, "parallel": arguments.parallel, "ranges": ranges, "exclude": ["train.epoch"]}
    return search(folder, name, seed, recipe, **options, **own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench-data/automl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=6, help="of random search; ASHA begins twice as many")
    parser.add_argument("--epochs", type=int, default=9, help="of the halving")
    parser.add_argument("--parallel", type=int, default=2, help="trials at once")
    parser.add_argument("--only", nargs="+", choices=SEARCHES, default=SEARCHES)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    os.environ.setdefault("TAO_STATE_DIR", str(folder / "state"))
    if not (folder / "data").is_dir():
        vlm.make(folder / "data")
    print("| search | seed | trials | epochs | seconds | recipe | best |\n|---|---|---|---|---|---|---|", flush=True)
    outcomes = []
    if "repair" in arguments.only:
        outcomes.append(repair(folder, arguments.seeds[0], arguments.parallel))
    for seed in arguments.seeds:
        outcomes += [halving(folder, name, seed, arguments) for name in SEARCHES[1:] if name in arguments.only]
    for of_random in (one for one in outcomes if one.name == "random" and "asha" in arguments.only):
        until = epochs_until(folder / f"asha_{of_random.seed}", of_random.best)
        print(f"seed {of_random.seed}: asha reached random's best after {until or 'no'} epochs")
    for name in SEARCHES[1:]:
        of_name = [one for one in outcomes if one.name == name]
        if of_name:
            best, epochs = (statistics.mean(getattr(one, key) for one in of_name) for key in ("best", "epochs"))
            print(f"{name}: mean best {best:.4f} after {epochs:.0f} epochs")
    (folder / "outcomes.json").write_text(json.dumps([vars(one) for one in outcomes], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
