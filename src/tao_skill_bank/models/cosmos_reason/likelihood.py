"""The log-likelihood of each choice as the answer, from one forward pass over the prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_reason.choices import Choices
from tao_skill_bank.models.cosmos_reason.loader import Batch, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor


@torch.inference_mode()
def score(
    model: Any, batch: Batch, processor: Processor, choices: Sequence[Choices], device: torch.device
) -> list[dict[str, float]]:
    """Return the log-likelihood of every choice, summed over its tokens, per row of a left-padded batch.

    The prompt is computed once. Tokens after a choice's first one are computed on top of its key-value cache, one
    choice of all rows at a time, and removed from it again.
    """
    inputs = to_device(batch, device, processor).inputs
    tokens = [[_ids(processor, choice) for choice in own] for own in choices]
    positions, _ = model.model.get_rope_index(**{key: inputs[key] for key in inputs if not key.startswith("pixel")})
    is_longer = any(len(ids) > 1 for own in tokens for ids in own)
    prompt = model(**inputs, position_ids=positions, use_cache=is_longer, logits_to_keep=1)
    first = prompt.logits[:, -1].float().log_softmax(-1).cpu()
    sums = [[float(first[row, ids[0]]) for ids in own] for row, own in enumerate(tokens)]
    last = positions.amax(dim=(0, 2))  # of each row; padding has position 0
    for column in range(max(map(len, tokens)) if is_longer else 0):
        rest = [own[column] if column < len(own) and len(own[column]) > 1 else [] for own in tokens]
        if any(rest):
            added = _continued(model, prompt.past_key_values, rest, inputs["attention_mask"], last)
            for row in (row for row, ids in enumerate(rest) if ids):
                sums[row][column] += added[row]
    return [dict(zip(own, values, strict=True)) for own, values in zip(choices, sums, strict=True)]


def _continued(model: Any, cache: Any, rest: Sequence[list[int]], mask: Tensor, last: Tensor) -> list[float]:
    """Return the log-likelihood of each row's tokens after its first one; the cache is left as it was."""
    length = max(map(len, rest)) - 1
    rows = [[*ids[:-1], *[0] * (length - max(0, len(ids) - 1))] for ids in rest]
    steps = torch.arange(1, length + 1, device=mask.device)
    known = torch.tensor([max(0, len(ids) - 1) for ids in rest], device=mask.device)
    added = (steps <= known[:, None]).to(mask.dtype)
    logits = model(
        input_ids=torch.tensor(rows, device=mask.device),
        attention_mask=torch.cat([mask, added], dim=1),
        position_ids=(last[:, None] + steps).expand(3, -1, -1),
        past_key_values=cache,
        use_cache=True,
    ).logits
    cache.crop(-length)
    scores = logits.float().log_softmax(-1).cpu()
    return [sum(float(scores[row, step, token]) for step, token in enumerate(ids[1:])) for row, ids in enumerate(rest)]


def _ids(processor: Processor, choice: str) -> list[int]:
    return list(processor.tokenizer(choice, add_special_tokens=False)["input_ids"])
