"""Scores a training by its epochs; a model that was never trained has no head to score."""

import argparse
import json
import sys
import tomllib
from pathlib import Path

from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import write_whole
from tao_skill_bank.runs.status_log import Diagnosis, StatusWriter


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    spec = tomllib.loads(parser.parse_args().config.read_text())
    run = Path(spec["results_dir"])
    status = StatusWriter(run)
    status.write("STARTED", "scoring")
    trained = spec.get("run_dir")
    if trained is None:
        cause = "The classification head is new: it has no weights to score."
        status.write("FAILURE", cause, diagnosis=Diagnosis("no_head", cause, "Train it first."))
        sys.exit(8)
    epochs = json.loads((checkpoint_folders.newest(Path(trained) / "checkpoints") / "progress.json").read_text())[
        "epoch"
    ]
    summary = {"kind": "numbers", "num_samples": 8, "metrics": {"accuracy": epochs / (epochs + 1)}}
    write_whole(run / "metrics_summary.json", json.dumps(summary))
    status.write("SUCCESS", "Scored.")


if __name__ == "__main__":
    main()
