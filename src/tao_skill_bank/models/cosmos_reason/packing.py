"""Packs several samples into one sequence without padding, with all layout information computed on the host.

Attention is restricted to a sample, positions restart with each, and the loss sums over labelled tokens, so a packed
micro-batch gives the same result as its samples one by one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.positions import Grid, token_positions
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, Processor, Sample, joined
from tao_skill_bank.models.cosmos_reason.vision import CHANNELS

# Tensor cores need multiples of 16, compiled blocks few different lengths; this costs 32 tokens on average.
LENGTH_MULTIPLE = 64


@dataclass(frozen=True)
class Packed:
    """One micro-batch. Tensors are on the host until `to_device`; lengths and grids stay there.

    Attributes:
        input_ids: int64 (length,).
        positions: int64 (3, length), see positions.token_positions.
        lengths: tokens of each sample; the last one includes the filler tokens of the sequence.
        boundaries: int32 (samples + 1,), the boundaries of samples.
        predictors: int64 (labels,), positions that predict a labelled token.
        targets: int64 (labels,), those next tokens.
        vision_places: int64 (vision tokens,), positions of features: those of `patches` first, then `features`.
        patches: uint8 (patches, values) for the vision tower; None when all features are cached.
        grids: of the media in `patches`.
        features: cached (vision tokens, levels, hidden), see feature_cache; None when none is cached.
        has_spare_media: the last media item of `grids` is a dummy that only keeps the tower running on every rank.
        num_tokens, num_samples: without fillers.

    """

    input_ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    boundaries: Tensor
    predictors: Tensor
    targets: Tensor
    vision_places: Tensor
    patches: Tensor | None
    grids: tuple[Grid, ...]
    features: Tensor | None
    has_spare_media: bool
    num_tokens: int
    num_samples: int

    @property
    def num_labels(self) -> int:
        """Tokens that enter the loss; a sequence's first token is not predicted."""
        return len(self.targets)

    def pin_memory(self) -> "Packed":
        """Return the batch in page-locked memory, for asynchronous copies to the GPU."""
        return self._mapped(Tensor.pin_memory)

    def to_device(self, device: torch.device) -> "Packed":
        """Return the batch with its tensors on `device`, copied asynchronously."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Packed":
        changed: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


@dataclass(frozen=True)
class Packer:
    """Packs samples; called in loader processes.

    Attributes:
        needs_media: the vision tower must run for every micro-batch, because its weights are sharded, and
            ranks would deadlock otherwise: one without media gets a black dummy image without effect.

    """

    processor: Processor
    needs_media: bool = False

    def __call__(self, samples: Sequence[Sample], counted: Sequence[bool] = ()) -> Packed:
        return pack(samples, self, counted)


def pack(samples: Sequence[Sample], packer: Packer, counted: Sequence[bool] = ()) -> Packed:
    """Return samples as one sequence; a sample that is not `counted` loses its labels."""
    geometry = packer.processor.pixel_format.geometry
    sizes = [len(sample.input_ids) for sample in samples]
    filling = -sum(sizes) % LENGTH_MULTIPLE
    pad = packer.processor.tokenizer.pad_token_id or 0
    labels = [
        _without_first(sample.labels if not counted or counted[index] else torch.full_like(sample.labels, IGNORED))
        for index, sample in enumerate(samples)
    ]
    targets = torch.cat([*labels, torch.full((filling,), IGNORED)])[1:]
    predictors = (targets != IGNORED).nonzero().flatten()
    positions = torch.cat([token_positions(sample.token_types, sample.grids, geometry) for sample in samples], dim=1)
    lengths = (*sizes[:-1], sizes[-1] + filling)
    places, patches, grids, features = _media(samples, sizes)
    is_spare = packer.needs_media and not grids
    if is_spare:
        side = geometry.merge_size
        values = CHANNELS * geometry.temporal_patch_size * geometry.patch_size**2
        patches.append(torch.zeros(side * side, values, dtype=torch.uint8))
        grids.append((1, side, side))
    return Packed(
        input_ids=torch.cat([*(sample.input_ids for sample in samples), torch.full((filling,), pad)]),
        positions=torch.cat([positions, torch.arange(filling).expand(3, -1)], dim=1),
        lengths=lengths,
        boundaries=torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32),
        predictors=predictors,
        targets=targets[predictors],
        vision_places=places,
        patches=joined(patches),
        grids=tuple(grids),
        features=joined(features),
        has_spare_media=is_spare,
        num_tokens=sum(sizes),
        num_samples=sum(counted) if counted else len(samples),
    )


def _without_first(labels: Tensor) -> Tensor:
    """Return labels with the first ignored, because the token before it belongs to another sample."""
    return torch.cat([torch.tensor([IGNORED]), labels[1:]])


def _media(samples: Sequence[Sample], sizes: Sequence[int]) -> tuple[Tensor, list[Tensor], list[Grid], list[Tensor]]:
    """Return the positions of vision tokens, patches and their grids, and cached features."""
    encoded: list[Tensor] = []
    known: list[Tensor] = []
    patches: list[Tensor] = []
    grids: list[Grid] = []
    features: list[Tensor] = []
    start = 0
    for sample, size in zip(samples, sizes, strict=True):
        places = (sample.token_types > 0).nonzero().flatten() + start
        if sample.features is not None:
            known.append(places)
            features.append(sample.features)
        elif sample.patches is not None:
            encoded.append(places)
            patches.append(sample.patches)
            grids.extend(sample.grids)
        start += size
    return torch.cat([*encoded, *known, torch.empty(0, dtype=torch.long)]), patches, grids, features
