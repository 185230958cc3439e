"""A small adapter training of Cosmos-Predict: its spec, and a way to run it in this process as one rank."""

import json
import signal
from contextlib import contextmanager
from pathlib import Path

import pydantic

from tao_skill_bank.models.cosmos_predict import train
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.runs.status_log import StatusWriter
from tao_skill_bank.training import distributed, entrypoint, interruption
from tao_skill_bank.training.entrypoint import Run


def config(pipeline, data, **groups):
    """Return a spec: windows of 9 frames, two clips a step, float32; `groups` change values, group by group."""
    document = {
        "dataset": {
            "train_dir": str(data / "train"),
            "val_dir": str(data / "val"),
            "height": 48,
            "width": 80,
            "num_frames": 9,
            "windows_per_clip": 2,
            "dataloader_num_workers": 0,
        },
        "model": {"pretrained_model_name_or_path": str(pipeline)},
        "lora": {"r": 4, "lora_alpha": 6},
        "train": {
            "epoch": 1,
            "batch_size": 2,
            "optm_lr": 0.02,
            "warmup_steps": 0,
            "mixed_precision": "no",
            "first_loss_limit": 0,
        },
        "validation": {"freq_in_epoch": 1, "num_samples": 2},
        "ckpt": {"save_freq_in_epoch": 1},
        "logging": {"logger": ["tao"]},
    }
    for group, changes in groups.items():
        document[group] = document.get(group, {}) | changes
    return pydantic.TypeAdapter(TrainConfig).validate_json(json.dumps(document))


def run(spec, folder):
    """Train; return the exit code."""
    try:
        return entrypoint.run(spec, train.train, folder)
    finally:
        distributed.stop()
        for number in interruption.SIGNALS:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def one_rank(folder):
    """Give what a program gets beside its spec."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield Run(folder, distributed.start(), StatusWriter(folder))
    finally:
        distributed.stop()


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def curve(folder, name="train/loss_avg"):
    """Return a metric by step; of steps that were taken again, the last value."""
    return {line["step"]: line[name] for line in lines(folder / "metrics.jsonl") if name in line}


def diagnosis(folder):
    last = lines(folder / "status.jsonl")[-1]
    assert last["state"] == "FAILURE"
    return last["diagnosis"]
