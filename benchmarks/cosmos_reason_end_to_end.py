"""Cosmos-Reason training from mp4 files to optimizer steps: how long the GPU waits for data, and what the run needs.

    python benchmarks/cosmos_reason_end_to_end.py [--folder FOLDER] [--mesh REPLICAS SHARDS] [--runs PATTERN] [--tiny]

Writes clips of 512x512 and a Qwen3-VL-8B of random weights, then runs the trainer under torchrun, once per row. The
GPU's idle share is the part of some steps in which no kernel ran, as torch's profiler saw them. `--tiny` takes the
builtin model and small clips, also without a GPU, and says nothing about speed.
"""

import argparse
import fnmatch
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch

from tao_skill_bank.models.cosmos_reason import architectures, builtin
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.samples.vlm import write_video
from tao_skill_bank.training.config import load_spec

NAME = "nvidia/Cosmos-Reason2-8B"
ALLOCATOR = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}  # as our launcher sets it
ANSWER = "The cart turns left at the second mark, waits there and leaves to the right. "
LORA = {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}


@dataclass(frozen=True)
class Row:
    """One training: what differs from the others, by spec path."""

    name: str
    spec: dict[str, Any]
    lora: bool = True


ROWS = (
    Row("LoRA, features cached", {"train.train_policy.vision_feature_cache": "on"}),
    Row("LoRA, decoded in every epoch", {"train.train_policy.vision_feature_cache": "off"}),
    Row(
        "LoRA, micro-batches of 2",
        {"train.train_policy.vision_feature_cache": "on", "train.train_policy.mini_batch": 2},
    ),
    Row(
        "full, bfloat16 states",
        {"train.master_dtype": "bfloat16", "train.train_batch_per_replica": 2},
        lora=False,
    ),
)


@dataclass(frozen=True)
class Sizes:
    """Everything that `--tiny` makes small."""

    side: int = 512
    clips: int = 48
    frames: int = 32
    batch: int = 8
    epochs: int = 2
    answer: str = ANSWER * 4
    model: dict[str, Any] = field(default_factory=lambda: architectures.find(NAME))


TINY = Sizes(64, 8, 8, 2, 2, "left", {})


def make_data(folder: Path, sizes: Sizes) -> None:
    """Write clips whose frames differ, so that decoding has work to do."""
    import numpy as np

    (folder / "videos").mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(sizes.clips):
        noise = np.random.default_rng(index).integers(0, 255, (sizes.side // 8, sizes.side // 8, 3), dtype=np.uint8)
        picture = noise.repeat(8, 0).repeat(8, 1)
        write_video(
            folder / "videos" / f"{index}.mp4", np.stack([np.roll(picture, 5 * t, 1) for t in range(sizes.frames)])
        )
        turns = [{"from": "human", "value": "What happens?"}, {"from": "gpt", "value": sizes.answer}]
        record = {"id": str(index), "video": f"videos/{index}.mp4", "video_fps": 4.0, "conversations": turns}
        records.append(record)
    (folder / "annotations.json").write_text(json.dumps(records), encoding="utf-8")


def make_model(folder: Path, sizes: Sizes) -> None:
    """Write a checkpoint of random weights; the tokenizer is the builtin model's."""
    builtin.create("tiny-cosmos-reason", folder)
    if not sizes.model:
        return
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    (folder / "model.safetensors").unlink()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**sizes.model))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(str(folder), max_shard_size="5GB")


def spec_of(row: Row, sizes: Sizes, folder: Path, mesh: tuple[int, int]) -> dict[str, Any]:
    """Return the train spec of a row on (replicas, shards); every GPU takes as many samples and steps."""
    spec: dict[str, Any] = {
        "results_dir": str(folder / "runs" / row.name.replace(" ", "_").replace(",", "")),
        "custom": {
            "train_dataset": {
                "annotation_path": str(folder / "data" / "annotations.json"),
                "media_path": str(folder / "data"),
            },
            "vision": {"nframes": sizes.frames, "total_pixels": sizes.frames * sizes.side**2},
        },
        "policy": {
            "model_name_or_path": str(folder / "model"),
            "parallelism": {"dp_replicate_size": mesh[0], "dp_shard_size": mesh[1]},
            **({"lora": LORA} if row.lora else {}),
        },
        "train": {
            "epoch": sizes.epochs * mesh[0] * mesh[1],
            "optm_lr": 1e-5,
            "train_batch_per_replica": sizes.batch,
            "ckpt": {"enable_checkpoint": False},
            "train_policy": {"mini_batch": 1, "enable_dataset_cache": False},
        },
        "validation": {"enable": False},
        "logging": {"logger": ["tao"]},
    }
    for path, value in row.spec.items():
        place = spec
        *parents, leaf = path.split(".")
        for key in parents:
            place = place[key]
        place[leaf] = value
    return spec


def train(row: Row, sizes: Sizes, folder: Path, mesh: tuple[int, int]) -> dict[str, Any]:
    """Run the trainer on a row and return what its metrics and the profiler say."""
    gpus = mesh[0] * mesh[1]
    spec = spec_of(row, sizes, folder, mesh)
    run_dir = Path(spec["results_dir"])
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True)
    config = run_dir / "train.toml"
    config.write_text(tomli_w.dumps(spec), encoding="utf-8")
    steps_planned = sizes.epochs * sizes.clips // sizes.batch
    profiled = map(str, (steps_planned // 2, steps_planned * 3 // 4))
    script = [str(Path(__file__).resolve()), "--train", str(config), "--profile", *profiled]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus), *script]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ALLOCATOR)
    if finished.returncode:
        print(finished.stderr[-3000:], flush=True)
        return {"row": row.name, "mesh": mesh, "failed": finished.returncode}
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "train/iteration_time" in line]
    seconds = statistics.median(line["train/iteration_time"] for line in steps[len(steps) // 3 :])
    profile = run_dir / "idle.json"
    chosen = re.search(r"prepare:(.*needs about ([\d.]+) GiB.*)", finished.stderr)
    return {
        "row": row.name,
        "mesh": mesh,
        "seconds": seconds,
        "samples_per_second": spec["train"]["train_batch_per_replica"] * gpus / seconds,
        "tokens_per_second": statistics.median(line["train/tokens_per_second"] for line in steps[len(steps) // 3 :]),
        "peak_gib": max(line["train/peak_memory_gib"] or 0 for line in steps),
        "predicted_gib": float(chosen[2]) if chosen else None,
        "mfu": steps[-2]["train/mfu"],
        "steps": len(steps),
        "chosen": chosen[1] if chosen else None,
        **(json.loads(profile.read_text(encoding="utf-8")) if profile.is_file() else {}),
    }


def run_profiled(config: Path, first: int, last: int) -> int:
    """Be the trainer, with the kernels of steps `first` to `last` recorded on rank 0."""
    from torch.profiler import ProfilerActivity, profile

    from tao_skill_bank.models.cosmos_reason import train as trainer
    from tao_skill_bank.training import entrypoint

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    spec: TrainConfig = load_spec(TrainConfig, config)
    on_gpu = torch.cuda.is_available()
    profiler = profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU])
    take_step, count = trainer._step, 0

    def step(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == first:
            profiler.start()
        done = take_step(*args)
        if count == last:
            profiler.stop()
            if os.environ.get("RANK", "0") == "0" and on_gpu:
                (config.parent / "idle.json").write_text(json.dumps(idle_share(profiler)), encoding="utf-8")
        return done

    trainer._step = step
    return entrypoint.run(spec, trainer.train, config.parent)


def idle_share(profiler: Any) -> dict[str, float]:
    """Return the share of the time from the first kernel to the last in which none ran."""
    kernels = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((event.time_range.start, event.time_range.end) for event in kernels)
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return {"gpu_idle": 1 - busy / (end - spans[0][0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="where clips, model and runs go")
    parser.add_argument("--mesh", type=int, nargs=2, default=(1, 1), metavar=("REPLICAS", "SHARDS"))
    parser.add_argument("--epochs", type=int, default=2, help="of every GPU's share of the clips")
    parser.add_argument("--out", type=Path, help="folder for the numbers")
    parser.add_argument("--runs", default="*", help="run the rows whose name matches")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a check without a GPU")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profile", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        sys.exit(run_profiled(arguments.train, *arguments.profile))
    if not (arguments.tiny or torch.cuda.is_available()):
        print("The full size needs a GPU; nothing was measured. --tiny runs every row on a CPU.")
        return
    sizes = replace(TINY if arguments.tiny else Sizes(), epochs=arguments.epochs)
    folder = arguments.folder.resolve()
    if not (folder / "model" / "config.json").is_file():
        make_data(folder / "data", sizes)
        make_model(folder / "model", sizes)
    torch.cuda.empty_cache()
    found = []
    for row in ROWS:
        if fnmatch.fnmatch(row.name, arguments.runs):
            found.append(train(row, sizes, folder, tuple(arguments.mesh)))
            print(json.dumps(found[-1]), flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                file = arguments.out / f"cosmos_reason_end_to_end_{arguments.mesh[0]}x{arguments.mesh[1]}.json"
                file.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
