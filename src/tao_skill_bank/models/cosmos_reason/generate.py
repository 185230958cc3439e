"""Answers to a batch of questions, by transformers' generate."""

from dataclasses import dataclass
from typing import Any

import torch

from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.loader import Batch, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.reserved_tokens import TURN_END


@dataclass(frozen=True)
class Decoding:
    """Sampling settings. Temperature 0 is greedy. Penalties as in vLLM: over the tokens generated so far."""

    max_new_tokens: int
    temperature: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0


class CountPenalty:
    """Lowers the score of tokens already generated: presence + frequency x count."""

    def __init__(self, prompt_length: int, presence: float, frequency: float) -> None:
        self.prompt_length, self.presence, self.frequency = prompt_length, presence, frequency

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        generated = input_ids[:, self.prompt_length :]
        counts = torch.zeros_like(scores).scatter_add_(1, generated, torch.ones_like(generated, dtype=scores.dtype))
        return scores - self.presence * (counts > 0) - self.frequency * counts


def answer(model: Any, batch: Batch, processor: Processor, decoding: Decoding, device: torch.device) -> list[str]:
    """Return the text of one answer per row of a left-padded batch, without special tokens."""
    return [response.text for response in respond(model, batch, processor, decoding, device)]


@torch.inference_mode()
def respond(model: Any, batch: Batch, processor: Processor, decoding: Decoding, device: torch.device) -> list[Response]:
    """Return one answer per row of a left-padded batch, without special tokens, and whether max_new_tokens ended it."""
    batch = to_device(batch, device, processor)
    prompt_length = batch.inputs["input_ids"].shape[1]
    torch.manual_seed(decoding.seed)
    options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if decoding.temperature > 0:
        options = {"do_sample": True, "temperature": decoding.temperature, "top_p": 1.0, "top_k": 0}
    if decoding.presence_penalty or decoding.frequency_penalty:
        penalty = CountPenalty(prompt_length, decoding.presence_penalty, decoding.frequency_penalty)
        options["logits_processor"] = [penalty]
    ends = _end_tokens(model, processor)
    tokens = model.generate(
        **batch.inputs,
        max_new_tokens=decoding.max_new_tokens,
        repetition_penalty=decoding.repetition_penalty,
        eos_token_id=ends,
        pad_token_id=processor.tokenizer.pad_token_id,
        **options,
    )
    generated = tokens[:, prompt_length:]
    is_ended = torch.isin(generated, torch.tensor(ends, device=generated.device)).any(dim=1).tolist()
    texts = processor.tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [Response(str(text).strip(), is_cut=not ended) for text, ended in zip(texts, is_ended, strict=True)]


def _end_tokens(model: Any, processor: Processor) -> list[int]:
    """Return the checkpoint's end tokens and the end of a turn."""
    known = model.generation_config.eos_token_id
    listed = known if isinstance(known, list) else [known] if known is not None else []
    return sorted({*listed, processor.tokenizer.convert_tokens_to_ids(TURN_END)})
