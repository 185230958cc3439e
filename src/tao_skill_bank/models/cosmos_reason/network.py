"""Qwen3-VL for training: maps a packed micro-batch to the sum of its labelled tokens' losses."""

from typing import Any

import torch
from torch import Tensor, nn

from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.decoder import Decoder
from tao_skill_bank.models.cosmos_reason.loss import token_loss_sum
from tao_skill_bank.models.cosmos_reason.packing import Packed
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, normalize
from tao_skill_bank.models.cosmos_reason.vision_tower import VisionTower
from tao_skill_bank.training.attention import Segments


class Network(nn.Module):
    """Trains the parameters of `model`, transformers' or peft's; it has no parameters itself."""

    def __init__(self, model: nn.Module, pixel_format: PixelFormat, execution: Execution) -> None:
        super().__init__()
        self.model: Any = model
        self.pixel_format, self.execution = pixel_format, execution
        base = parts(model)
        self.tower = VisionTower(trained_copy(base.model.visual), execution)
        self.decoder = Decoder(base.model.language_model, execution)

    def forward(self, batch: Packed) -> Tensor:
        """Return the float32 sum over labelled tokens of -log p(token | everything before it in its sample)."""
        return token_loss_sum(self.states(batch)[batch.predictors], parts(self.model).lm_head.weight, batch.targets)

    def states(self, batch: Packed) -> Tensor:
        """Return the normed last hidden states (tokens, hidden)."""
        hidden = self.decoder.embed(batch.input_ids)
        features = self._features(batch)
        if features is None:
            features = hidden.new_empty((0, self.tower.levels, hidden.shape[1]))
        if batch.has_spare_media:
            features, spare = features[:-1], features[-1:]
            hidden = hidden + 0 * spare.sum().to(hidden.dtype)
        hidden = hidden.index_copy(0, batch.vision_places, features[:, 0].to(hidden.dtype))
        samples = Segments.of(batch.lengths, batch.boundaries)
        hidden = self.decoder.decode(hidden, batch.positions, samples, (batch.vision_places, features[:, 1:]))
        return self.decoder.norm(hidden)

    def encode(self, patches: Tensor, grids: tuple[tuple[int, int, int], ...]) -> Tensor:
        """Return features (vision tokens, levels, hidden) of uint8 patches; without gradients in a frozen tower."""
        visual = self.tower.visual
        trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in visual.parameters())
        with torch.set_grad_enabled(trains):
            return self.tower.encode(normalize(patches, self.pixel_format), grids)

    def _features(self, batch: Packed) -> Tensor | None:
        found = [] if batch.patches is None else [self.encode(batch.patches, batch.grids)]
        if batch.features is not None:
            found.append(batch.features)
        return torch.cat(found) if found else None


def parts(model: nn.Module) -> Any:
    """Return transformers' model, unwrapped from peft's wrapper if necessary."""
    known: Any = model
    return known.get_base_model() if hasattr(known, "get_base_model") else known


def trained_copy(module: Any) -> Any:
    """Return the copy of a module that peft trains in full (modules_to_save), or the module itself."""
    copies = getattr(module, "modules_to_save", None)
    return copies["default"] if isinstance(copies, nn.ModuleDict) else module
