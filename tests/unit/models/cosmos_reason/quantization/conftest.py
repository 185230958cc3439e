"""The tiny model in memory, and samples of real clips for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("compressed_tensors")

from tao_skill_bank.models.cosmos_reason import data, loader
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations, observe

Logits = Callable[[Any], list[torch.Tensor]]


@pytest.fixture
def network(tiny_model: Path) -> Any:
    """In float32, so that what is off is quantization and not bfloat16."""
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model), dtype=torch.float32).eval()


@pytest.fixture
def batches(clips: Path, processor: Processor) -> list[loader.Batch]:
    """Four clips, one a batch, without padding."""
    annotations = data.read_annotations(str(clips / "train" / "annotations.json"))[:4]
    shown = data.Presentation(VideoSampling(nframes=4), 2048)
    records = data.Records(annotations, str(clips / "train"), processor, shown)
    padding = loader.Padding(processor, side="left")
    cpu = torch.device("cpu")
    return [
        loader.to_device(loader.collate([sample], padding), cpu, processor)
        for sample in map(records.__getitem__, range(4))
    ]


@pytest.fixture
def logits(batches: list[loader.Batch]) -> Logits:
    """Return a model's logits on all batches."""

    def compute(network: Any) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [network(**batch.inputs, use_cache=False).logits for batch in batches]

    return compute


@pytest.fixture
def prepare(logits: Logits) -> Callable[..., Activations]:
    """Apply a scheme to a network and return its activations on all batches."""

    def run(network: Any, name: str, *, kv_fp8: bool = False) -> Activations:
        scheme.apply(network, name, kv_fp8=kv_fp8)
        with observe(network) as activations:
            logits(network)
        return activations

    return run


def relative_error(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    difference = sum(float((a - b).square().sum()) for a, b in zip(ours, theirs, strict=True))
    return float((difference / sum(float(b.square().sum()) for b in theirs)) ** 0.5)
