"""diffusers' own Cosmos pipeline, run without torchvision: the two functions it needs of it are put in by hand."""

import types

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812


class Harmless:
    """A safety checker that finds nothing."""

    def to(self, _device):
        return self

    def check_text_safety(self, _prompt):
        return True


def load(folder, monkeypatch):
    """Return the plain pipeline of a folder in float32."""
    from diffusers import Cosmos2_5_PredictBasePipeline
    from diffusers.models.transformers import transformer_cosmos
    from diffusers.pipelines.cosmos import pipeline_cosmos2_5_predict

    functional = types.SimpleNamespace(
        resize=lambda image, size, interpolation: F.interpolate(image, size=size, mode=interpolation),
        to_tensor=lambda image: torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255,
    )
    transforms = types.SimpleNamespace(
        functional=functional, InterpolationMode=types.SimpleNamespace(NEAREST="nearest")
    )
    monkeypatch.setattr(transformer_cosmos, "transforms", transforms, raising=False)
    torchvision = types.SimpleNamespace(transforms=transforms)
    monkeypatch.setattr(pipeline_cosmos2_5_predict, "torchvision", torchvision, raising=False)
    pipeline = Cosmos2_5_PredictBasePipeline.from_pretrained(
        str(folder), dtype=torch.float32, safety_checker=Harmless()
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
