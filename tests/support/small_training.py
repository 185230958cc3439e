"""A small sharded training with the real saver: `... -m small_training --config FILE`, for one or more processes.

It trains a two-layer network with FSDP2 on batches that do not depend on the number of ranks, two steps an epoch, and
appends its losses to losses.jsonl of the run directory.
"""

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard

from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.training import checkpoint, distributed, entrypoint, resume
from tao_skill_bank.training.checkpoint import Progress, Trained
from tao_skill_bank.training.saver import Saver, Subject

FACTS = TrainingFacts(
    MonitoringMetric("val/avg_loss", "minimize"), EarlyStop("train.epoch", "train.stop_epoch"), "train.resume"
)
STEPS_PER_EPOCH = 2
BATCH = 8


@dataclass
class Spec:
    """What to train, and at which step a signal or a full disk comes."""

    run_dir: str
    replicate: int = 1
    shard: int = 1
    epochs: int = 2
    resume: bool | str = False
    in_background: bool = False
    max_keep: int = -1
    hidden: int = 12
    data: str = "numbers"
    signal_after: int = 0
    signal_number: int = int(signal.SIGUSR1)
    signaled_rank: int = 0
    losses: list[float] = field(default_factory=list)


def train(spec, run):
    ranks = run.ranks
    torch.manual_seed(0)
    folder = resume.find(run.results_dir, spec.resume, FACTS, spec.epochs)
    fingerprint = {"the data": spec.data, "batch": BATCH}
    resume.require_same(folder, fingerprint, FACTS)
    model = nn.Sequential(nn.Linear(5, spec.hidden), nn.Dropout(0.0), nn.Tanh(), nn.Linear(spec.hidden, 3))
    mesh = distributed.data_parallel_mesh(ranks, replicate=spec.replicate, shard=spec.shard)
    for layer in (model[0], model[3]):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    trained = Trained(model, optimizer)
    progress = checkpoint.load(folder, trained, ranks, FACTS) if folder else Progress()
    resume.prepare_run_directory(run.results_dir, folder, ranks, FACTS)
    saver = Saver(run, Subject(trained, fingerprint), FACTS, max_keep=spec.max_keep, in_background=spec.in_background)
    step = progress.step
    with run.interruption.deferred():
        for epoch in range(progress.epoch + 1, spec.epochs + 1):
            for _ in range(step - (epoch - 1) * STEPS_PER_EPOCH, STEPS_PER_EPOCH):
                tell(run, step, step_loss(model, optimizer, ranks, step))
                step += 1
                if step == spec.signal_after and ranks.rank == spec.signaled_rank:
                    os.kill(os.getpid(), spec.signal_number)
                if run.interruption.agreed(ranks):
                    saver.interrupt(Progress(epoch - 1, step))
            saver.end_epoch(Progress(epoch, step), None)
        saver.wait()
    return f"{step} steps."


def step_loss(model, optimizer, ranks, step):
    """Take a step; return the mean loss over the samples of all ranks, before the update."""
    generator = torch.Generator().manual_seed(step)
    inputs, targets = torch.randn(BATCH, 5, generator=generator), torch.randn(BATCH, 3, generator=generator)
    share = BATCH // ranks.world
    mine = slice(ranks.rank * share, (ranks.rank + 1) * share)
    loss = nn.functional.mse_loss(model(inputs[mine].to(ranks.device)), targets[mine].to(ranks.device))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return ranks.sum([loss.item()])[0] / ranks.world


def tell(run, step, loss):
    if run.ranks.is_main:
        with (run.results_dir / "losses.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "loss": loss}) + "\n")


def losses(folder: Path):
    """Return the loss of every step; of steps that were taken again, the last."""
    lines = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    found = {line["step"]: line["loss"] for line in lines}
    return [found[step] for step in sorted(found)]


def names(folder):
    """Return the names of a run's checkpoints."""
    return {path.name for path in (folder / "checkpoints").iterdir()}


def diagnosis(folder):
    """Return why the last program in a run directory failed; one rank tells it, once."""
    lines = [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]
    assert [line["state"] for line in lines[-2:]] == ["STARTED", "FAILURE"]
    return lines[-1]["diagnosis"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    entrypoint.main(Spec, train, lambda spec: spec.run_dir)
