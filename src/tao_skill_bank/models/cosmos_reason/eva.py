"""EVA: initializes adapters from the principal directions of their layers' inputs on training data (peft's code).

Rank 0 runs it and broadcasts the result: it distributes adapter ranks over layers, and processes that differ in
rounding would train adapters of different sizes.
"""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import loader
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.training.distributed import Ranks

logger = logging.getLogger(__name__)
MAX_BATCHES = 1000  # directions converge within some tens of batches


def starting(config: TrainConfig, records: Records, ranks: Ranks) -> Callable[[nn.Module], None] | None:
    """Return the initializer of new adapters; None unless the spec selects EVA. Every rank calls the result."""
    lora = config.policy.lora
    if lora is None or lora.init_lora_weights != "eva":
        return None

    def start(adapted: nn.Module) -> None:
        from peft import get_eva_state_dict, initialize_lora_eva_weights

        found: dict[str, torch.Tensor] | None = None
        if ranks.is_main:
            source = RecordSource(records, config, adapted)
            found = get_eva_state_dict(
                adapted,
                source,
                forward_fn=source.forward,
                prepare_model_inputs_fn=source.load,
                prepare_layer_inputs_fn=source.counted,
                gather_distributed_inputs=False,
                show_progress_bar=False,
            )
            found = {name: directions.cpu() for name, directions in found.items()}
            logger.info("EVA converged after %d batches.", source.num_batches)
        found = ranks.gather(found)[0]
        initialize_lora_eva_weights(adapted, eva_state_dict=found)

    return start


class RecordSource:
    """The data that peft iterates over: record indices, decoded lazily, because peft keeps the items."""

    def __init__(self, records: Records, config: TrainConfig, adapted: nn.Module) -> None:
        self._records, self._padding = records, loader.Padding(records.processor)
        self._device = next(adapted.parameters()).device
        self._indices = _order(records, config.train.seed, adapted)
        self._size = config.train.train_policy.mini_batch
        self._batch: loader.Batch | None = None
        self.num_batches = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.split(self._indices, self._size))

    def __len__(self) -> int:
        return math.ceil(len(self._indices) / self._size)

    def load(self, indices: torch.Tensor, _: Any) -> torch.Tensor:
        """Decode a batch and return the mask of its tokens, (batch, length)."""
        self.num_batches += 1
        if self.num_batches > MAX_BATCHES:
            message = f"EVA has not converged after {MAX_BATCHES} batches of {self._size} samples."
            fix = "Lower policy.lora.r, raise train.train_policy.mini_batch, or set policy.lora.init_lora_weights=true."
            raise BlockedError.of("eva_unsettled", message, fix, path="policy.lora.init_lora_weights")
        samples = [self._records[index] for index in indices.tolist()]
        self._batch = loader.to_device(loader.collate(samples, self._padding), self._device, self._records.processor)
        return self._batch.inputs["attention_mask"].bool()

    def forward(self, model: Any, _: torch.Tensor) -> None:
        """Run transformers' forward pass on the last loaded batch."""
        assert self._batch is not None
        model(**self._batch.inputs, use_cache=False, logits_to_keep=1)

    @staticmethod
    def counted(inputs: Any, mask: torch.Tensor, _: str) -> torch.Tensor:
        """Return a layer's inputs (tokens, features) without padding; patches of the vision tower have none."""
        states: torch.Tensor = inputs if isinstance(inputs, torch.Tensor) else inputs[0]
        return states[mask] if states.ndim == 3 else states


def _order(records: Records, seed: int, adapted: nn.Module) -> torch.Tensor:
    """Return the records in random order; only those with media when the vision tower has adapters.

    Raises:
        BlockedError: the vision tower has adapters, but no record has media.

    """
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))
    if not any("visual." in name for name, _ in adapted.named_modules() if name.endswith(".lora_A")):
        return order
    shown = torch.tensor([bool(records.conversation(index).media) for index in order.tolist()])
    if not shown.any():
        message = "EVA needs media to initialize the vision tower's adapters, but no training record has any."
        fix = "Set policy.lora.init_lora_weights=true, or remove attn.qkv and attn.proj from target_modules."
        raise BlockedError.of("eva_without_media", message, fix, path="policy.lora.init_lora_weights")
    return order[shown]
