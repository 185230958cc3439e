"""Encodes prompts into text contexts for the transformer's cross attention.

A token's features are the hidden states of every layer of the text encoder, each normalised over its features and
concatenated: 100,352 numbers for the 2B. The transformer's frozen projection reduces them to 1,024, which are kept.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.models.cosmos_predict.text_limit import MAX_TOKENS
from tao_skill_bank.models.cosmos_predict.transformer import project_context

logger = logging.getLogger(__name__)

SYSTEM = "You are a helpful assistant who will provide prompts to an image generator."  # the encoder was trained so
EPSILON = 1e-8
SHOWN_TOKENS = 12  # of the end of a prompt that is cut


@torch.no_grad()
def encode_contexts(projector: Any, text_encoder: Any, tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """Return the contexts (prompts, 512, context features) on the projector's device, one prompt at a time.

    Args:
        projector: a transformer, or its `pipeline.ContextProjection`.
        text_encoder: see `pipeline.load_text_encoder`.
        tokenizer: see `pipeline.load_text_encoder`.
        prompts: one text per context; at least one.

    """
    rows = [project_context(projector, encode_prompt(text_encoder, tokenizer, prompt)[None]) for prompt in prompts]
    return torch.cat(rows)


@torch.no_grad()
def encode_prompts(text_encoder: Any, tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """Return the features (prompts, 512, encoder features), as in diffusers' pipeline; 0.1 GB per prompt for the 2B."""
    return torch.stack([encode_prompt(text_encoder, tokenizer, prompt) for prompt in prompts])


@torch.no_grad()
def encode_prompt(text_encoder: Any, tokenizer: Any, prompt: str) -> Tensor:
    """Return the features of one prompt: (512, layers x hidden size)."""
    tokens = tokenize(tokenizer, prompt)[None].to(text_encoder.device)
    # Padding is attended to, as in training. Logits cannot be disabled: they are computed for one position.
    outputs = text_encoder(tokens, output_hidden_states=True, use_cache=False, logits_to_keep=1)
    layers = outputs.hidden_states[1:]  # the first entry is the token embedding
    size = layers[0].shape[-1]
    features: Tensor = layers[0].new_empty(tokens.shape[1], size * len(layers))
    for index, (state,) in enumerate(layers):
        spread = state.std(dim=-1, keepdim=True) + EPSILON
        features[:, index * size : (index + 1) * size] = (state - state.mean(dim=-1, keepdim=True)) / spread
    return features


def tokenize(tokenizer: Any, prompt: str) -> Tensor:
    """Return the 512 tokens of a prompt in the conversation that the text encoder expects; log one that is cut."""
    turns = [("system", SYSTEM), ("user", prompt)]
    conversation = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    encoded = tokenizer.apply_chat_template(
        conversation,
        tokenize=True,
        return_dict=True,
        add_generation_prompt=False,
        add_vision_id=False,
        max_length=MAX_TOKENS,
        truncation=True,
        padding="max_length",
    )
    tokens = torch.tensor(encoded["input_ids"], dtype=torch.long).reshape(-1)
    if int(tokens[-1]) != tokenizer.pad_token_id:
        _warn_if_cut(tokenizer, conversation, tokens)
    return tokens


def _warn_if_cut(tokenizer: Any, conversation: Sequence[Any], tokens: Tensor) -> None:
    whole = tokenizer.apply_chat_template(
        conversation, tokenize=True, return_dict=True, add_generation_prompt=False, add_vision_id=False
    )["input_ids"]
    length = torch.tensor(whole).numel()
    if length > MAX_TOKENS:
        end = tokenizer.decode(tokens[-SHOWN_TOKENS:])
        logger.warning("A prompt takes %d tokens of %d; what follows '...%s' is not read", length, MAX_TOKENS, end)


@torch.no_grad()
def null_context(projector: Any, num_features: int) -> Tensor:
    """Return the context (1, 512, context features) of a dropped prompt: features of zero, projected.

    Args:
        projector: a transformer, or its `pipeline.ContextProjection`.
        num_features: features per token before the projection.

    """
    weight = projector.crossattn_proj[0].weight if projector.config.use_crossattn_projection else None
    zeros = torch.zeros(1, MAX_TOKENS, num_features if weight is None else weight.shape[1])
    return project_context(projector, zeros if weight is None else zeros.to(weight.device, weight.dtype))
