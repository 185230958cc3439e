"""A training that never ends: each rank writes its process id when it has begun."""

import os
import time
from dataclasses import dataclass

from tao_skill_bank.training import entrypoint


@dataclass
class Spec:
    run_dir: str


def train(spec, run):
    (run.results_dir / f"rank_{run.ranks.rank}").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


if __name__ == "__main__":
    entrypoint.main(Spec, train, lambda spec: spec.run_dir)
