"""The two encoders: the mean of a clip's vision features, and the last hidden state of a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.network import Network
from tao_skill_bank.models.cosmos_reason.packing import Packed, Packer, pack
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat, normalize
from tao_skill_bank.models.cosmos_reason.vision_tower import VisionTower


class Encoder(Protocol):
    """A loaded model."""

    def encode(self, batch: Any) -> Tensor:
        """Return float32 unit vectors (rows, dimension) of a batch on the host; they may still be on the device."""


@dataclass(frozen=True)
class Clips:
    """The uint8 patches (patches, values) of some clips, and the grid of each."""

    patches: Tensor
    grids: tuple[Grid, ...]

    def pin_memory(self) -> "Clips":
        return Clips(self.patches.pin_memory(), self.grids)


@dataclass(frozen=True)
class Prompts:
    """Packed prompts, and the place of the last token of each."""

    packed: Packed
    last: Tensor

    def pin_memory(self) -> "Prompts":
        return Prompts(self.packed.pin_memory(), self.last.pin_memory())


def stack(clips: Sequence[tuple[Tensor, Grid]]) -> Clips:
    """Return the patches and grids of some clips as a batch."""
    return Clips(torch.cat([patches for patches, _ in clips]), tuple(grid for _, grid in clips))


@dataclass(frozen=True)
class PackPrompts:
    """Packs the samples of prompts into a batch; called in loader processes."""

    processor: Processor

    def __call__(self, samples: Sequence[Sample]) -> Prompts:
        ends = torch.tensor([len(sample.input_ids) for sample in samples]).cumsum(0)
        return Prompts(pack(samples, Packer(self.processor)), ends - 1)


class VisionEncoder:
    """Pools the features of a vision tower, after its merger."""

    def __init__(self, visual: Any, pixel_format: PixelFormat, execution: Execution, device: torch.device) -> None:
        self.tower = VisionTower(visual, execution)
        self.pixel_format, self.device = pixel_format, device

    @torch.no_grad()
    def encode(self, batch: Clips) -> Tensor:
        patches = normalize(batch.patches.to(self.device, non_blocking=True), self.pixel_format)
        features = self.tower.encode(patches, batch.grids, deep=False)
        merge = self.pixel_format.geometry.merge_size
        sizes = [time * rows * columns // merge**2 for time, rows, columns in batch.grids]
        return torch.stack([pooled(part) for part in torch.split(features, sizes)])


class JointEncoder:
    """Takes the state of a prompt's last token, after the last norm."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device

    @torch.no_grad()
    def encode(self, batch: Prompts) -> Tensor:
        states = self.network.states(batch.packed.to_device(self.device))
        return F.normalize(states[batch.last.to(self.device)].float(), dim=-1)


def pooled(features: Tensor) -> Tensor:
    """Return the unit vector of the mean over tokens of vision features (tokens, levels, hidden), in float32."""
    return F.normalize(features[:, 0].float().mean(0), dim=-1)
