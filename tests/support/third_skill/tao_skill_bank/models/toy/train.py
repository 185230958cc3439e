"""Follows a formula, with the states, metrics, checkpoints and signals of a real training."""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import time
import tomllib
from pathlib import Path

from tao_skill_bank.core import lifeline
from tao_skill_bank.runs import checkpoint_folders, fencing, writer_lock
from tao_skill_bank.runs.status_log import Diagnosis, MetricsWriter, StatusWriter

EXIT_INTERRUPTED = 75


def loss(spec, epoch):
    """Return a loss that is least at a learning rate of 1e-2 and rank 16, and falls with the epochs."""
    rate, rank = spec["train"]["optm_lr"], spec["lora"]["r"]
    valley = 0.3 * (math.log10(rate) + 2) ** 2 + 0.02 * (math.log2(rank) - 4) ** 2
    return 0.2 + valley + math.exp(-epoch / 3)


def is_held(gate, epoch):
    """Return whether an epoch after the first waits for a file that a test has not written yet."""
    return gate is not None and epoch > 1 and not Path(gate).exists()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    spec = tomllib.loads(parser.parse_args().config.read_text())
    run = Path(spec["results_dir"])
    lifeline.end_with_starter()
    with writer_lock.joined(run):
        fencing.begin(run)
        follow(spec, run)


def follow(spec, run):
    train = spec["train"]
    status, metrics = StatusWriter(run), MetricsWriter(run)
    stopped = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: stopped.append(True))
    status.write("STARTED", f"process {os.getpid()}")
    done = 0
    if train["resume"]:
        named = Path(train["resume"]) if isinstance(train["resume"], str) else None
        folder = named or checkpoint_folders.newest(run / "checkpoints")
        done = json.loads((folder / "progress.json").read_text())["epoch"] if folder else 0
    if train["optm_lr"] > train["fails_above_lr"]:
        status.write("FAILURE", "diverged", diagnosis=Diagnosis("diverged", "The loss is no number.", "Lower it."))
        sys.exit(8)
    last = train.get("stop_epoch") or train["epoch"]
    for epoch in range(done + 1, last + 1):
        until = time.monotonic() + train["seconds_per_epoch"]
        while (time.monotonic() < until or is_held(train.get("gate"), epoch)) and not stopped:
            time.sleep(0.01)
        if stopped:
            status.write("FAILURE", "interrupted", diagnosis=Diagnosis("interrupted", "A signal.", "Resume."))
            sys.exit(EXIT_INTERRUPTED)
        metrics.write(epoch, epoch, {train["metric"]: loss(spec, epoch)})
        folder = run / "checkpoints" / f"epoch_{epoch}"
        work = folder.with_name(f".{folder.name}")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / ".metadata").touch()
        (work / "progress.json").write_text(json.dumps({"epoch": epoch, "step": epoch}))
        fencing.require_current()
        work.rename(folder)
        status.progress(epoch, train["epoch"], f"epoch {epoch}")
    (run / "best").mkdir(exist_ok=True)
    status.write("SUCCESS", f"Trained {last} epochs.")


if __name__ == "__main__":
    main()
