"""The small training, which waits after a step until a file is there, and saves every step's epoch."""

import time
from dataclasses import dataclass
from pathlib import Path

import small_training
import torch

from tao_skill_bank.training import entrypoint


@dataclass
class Spec(small_training.Spec):
    wait_after: int = 0
    wait_for: str = ""


def train(spec, run):
    told = small_training.tell

    def tell_and_wait(run, step, loss):
        told(run, step, loss)
        while step + 1 == spec.wait_after and not Path(spec.wait_for).exists() and not run.interruption.is_requested:
            time.sleep(0.05)

    small_training.tell = tell_and_wait
    return small_training.train(spec, run)


if __name__ == "__main__":
    torch.set_num_threads(1)
    entrypoint.main(Spec, train, lambda spec: spec.run_dir)
