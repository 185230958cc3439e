"""One tiny model and one small dataset for all tests of this folder, and a way to run its programs."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")

import torch

from tao_skill_bank.models.cosmos_reason.config import (
    EmbedConfig,
    EvaluateConfig,
    ExportConfig,
    InferenceConfig,
    QuantizeConfig,
    TrainConfig,
)
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.samples import vlm
from tao_skill_bank.staging import fetch
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.config import load_spec

Document = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(shared: Path) -> Path:
    return fetch.fetch("builtin://tiny-cosmos-reason", shared / "builtin" / "tiny-cosmos-reason")


@pytest.fixture(scope="session")
def processor(tiny_model: Path) -> Processor:
    return Processor.load(tiny_model)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training, 9 validation and 9 test clips."""
    return vlm.make(tmp_path_factory.mktemp("data") / "clips", train=24, val=9, test=9)


@pytest.fixture(scope="session")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the tiny model with weights that matter."""
    from transformers import Qwen3VLForConditionalGeneration

    from tao_skill_bank.training import adapters

    folder = tmp_path_factory.mktemp("adapter") / "lora"
    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model))
    adapted = adapters.add(network, {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}, str(tiny_model))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    trained = {name: p.detach() for name, p in adapted.named_parameters() if p.requires_grad}
    adapters.write(folder, adapted, trained, {}, tiny_model)
    return folder


@pytest.fixture
def train_spec(tiny_model: Path, clips: Path, tmp_path: Path) -> Document:
    """Two epochs of three steps in float32, without dropout."""
    return {
        "results_dir": str(tmp_path / "run"),
        "custom": {
            "train_dataset": _dataset(clips / "train", "media_path"),
            "val_dataset": _dataset(clips / "val", "media_path"),
            "vision": {"nframes": 4},
        },
        "policy": {
            "model_name_or_path": str(tiny_model),
            "model_max_length": 2048,
            "model_gradient_checkpointing": False,
        },
        "train": {
            "epoch": 2,
            "optm_lr": 1e-3,
            "train_batch_per_replica": 8,
            "param_dtype": "float32",
            "train_policy": {"mini_batch": 4, "dataloader_num_workers": 0, "enable_dataset_cache": False},
        },
        "validation": {"dataloader_num_workers": 0, "batch_size": 4},
        "logging": {"logger": ["tao"]},
    }


@pytest.fixture
def evaluate_spec(tiny_model: Path, clips: Path, tmp_path: Path) -> Document:
    return {
        "results_dir": str(tmp_path / "evaluation"),
        "dataset": _dataset(clips / "test", "media_dir"),
        "model": {"model_name": str(tiny_model), "dtype": "float32", "max_length": 2048},
        "task": {"type": "its_directionality"},
        "evaluation": {"batch_size": 4},
        "vision": {"nframes": 4},
        "generation": {"max_tokens": 6},
    }


@pytest.fixture
def embed_spec(tiny_model: Path, clips: Path, tmp_path: Path) -> Document:
    return {
        "results_dir": str(tmp_path / "embeddings"),
        "dataset": _dataset(clips / "test", "media_dir"),
        "model": {"model_name": str(tiny_model), "max_length": 2048},
        "embedding": {"num_processes": 0},
        "vision": {"nframes": 4},
    }


@pytest.fixture
def quantize_spec(tiny_model: Path, clips: Path, tmp_path: Path) -> Document:
    return {
        "results_dir": str(tmp_path / "quantization"),
        "model": {"model_path": str(tiny_model)},
        "calibration_dataset": _dataset(clips / "train", "media_dir"),
        "dataset": _dataset(clips / "test", "media_dir"),
        "vision": {"nframes": 4},
        "quantize": {"quantization_scheme": "W4A16", "num_calibration_samples": 6, "max_new_tokens": 6},
    }


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[Document, str], Path]:
    """Write a nested document as TOML."""

    def write(document: Document, name: str = "config") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join(_toml(document)), encoding="utf-8")
        assert tomllib.loads(path.read_text()) == document
        return path

    return write


@pytest.fixture
def run_program(write_config: Callable[[Document, str], Path]) -> Callable[..., int]:
    """Run one of the skill's actions in this process, as one rank; returns the exit code."""
    from tao_skill_bank.models.cosmos_reason import embed, evaluate, export, inference, quantize, train

    programs: dict[str, tuple[Any, Any]] = {
        "train": (TrainConfig, train.train),
        "evaluate": (EvaluateConfig, evaluate.evaluate),
        "embed": (EmbedConfig, embed.embed),
        "inference": (InferenceConfig, inference.infer),
        "export": (ExportConfig, export.export),
        "quantize": (QuantizeConfig, quantize.quantize),
    }

    def run(action: str, document: Document) -> int:
        kind, body = programs[action]
        spec = load_spec(kind, write_config(document, action))
        try:
            return entrypoint.run(spec, body, Path(document["results_dir"]))
        finally:
            distributed.stop()

    return run


def read_lines(path: Path) -> list[Document]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def losses(run_dir: Path) -> list[float]:
    return [line["train/loss_avg"] for line in read_lines(run_dir / "metrics.jsonl") if "train/loss_avg" in line]


def diagnosis(run_dir: Path) -> Document:
    last = read_lines(run_dir / "status.jsonl")[-1]
    assert last["state"] == "FAILURE"
    found: Document = last["diagnosis"]
    return found


def _dataset(folder: Path, media_key: str) -> dict[str, str]:
    return {"annotation_path": str(folder / "annotations.json"), media_key: str(folder)}


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else json.dumps(name)


def _toml(document: Document, prefix: str = "") -> Iterator[str]:
    """Yield TOML lines: values first, then tables. JSON's scalars and lists are TOML's."""
    for key, value in document.items():
        if not isinstance(value, dict):
            yield f"{_key(key)} = {json.dumps(value)}"
    for key, value in document.items():
        if isinstance(value, dict):
            yield f"[{prefix}{key}]"
            yield from _toml(value, f"{prefix}{key}.")
