"""Cross-entropy of the labelled tokens, summed, so that any split of a step into micro-batches and ranks adds up."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from tao_skill_bank.models.cosmos_reason.loader import Batch
from tao_skill_bank.models.cosmos_reason.processor import IGNORED


def token_loss_sum(model: Any, batch: Batch) -> torch.Tensor:
    """Return the float32 sum over labelled tokens of -log p(token | everything before it).

    The head runs only at positions that some row of the batch learns from: for a long clip and a short answer the
    full logits would be the largest tensor of the step.
    """
    targets = batch.labels[:, 1:]
    positions = (targets != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(**batch.inputs, logits_to_keep=positions, use_cache=False).logits
    chosen = targets[:, positions]
    return F.cross_entropy(logits.float().flatten(0, 1), chosen.flatten(), ignore_index=IGNORED, reduction="sum")
