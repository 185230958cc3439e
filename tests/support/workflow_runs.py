"""Workflows of the toy skill, whose trainings and evaluations take milliseconds."""

import copy

from tao_skill_bank.core import yaml12
from tao_skill_bank.workflows import files, running, sealing

TRAIN = {"skill": "toy", "action": "train", "automl_policy": "off", "overrides": {"train.epoch": "$epochs"}}
EVALUATE = {"skill": "toy", "action": "evaluate"}
TWO_STEPS = {
    "name": "two_steps",
    "description": "Train, then score.",
    "inputs": {"epochs": {"type": "integer", "default": 2}},
    "steps": [
        {"name": "training", "request": TRAIN},
        {"name": "scoring", "parent": "training", "request": EVALUATE},
    ],
}


def two_steps(**changes):
    return {**copy.deepcopy(TWO_STEPS), **changes}


def write(folder, document=None):
    """Write a workflow file and return its path."""
    path = folder / "flow.yaml"
    path.write_text(yaml12.render(document or TWO_STEPS))
    return path


def sealed_in(folder, document=None, **given):
    """Seal a workflow that runs in `folder`/run."""
    return sealing.plan(files.load(str(write(folder, document))), given, folder / "run")


def run(folder, document=None, **given):
    return running.start(sealed_in(folder, document, **given))
