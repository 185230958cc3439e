"""Adds the adapters of a training to the transformer."""

from typing import Any

import torch

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict.config.train import Lora


def add(dit: Any, settings: Lora) -> Any:
    """Add LoRA or DoRA adapters in float32; the rest is frozen. Returns `dit`.

    Raises:
        BlockedError: no layer has one of the target names.

    """
    from peft import LoraConfig

    dit.requires_grad_(False)
    fix = "Choose lora.target_modules among the transformer's linear layers."
    if unmatched := [target for target, count in matches(dit, list(settings.target_modules)).items() if not count]:
        message = f"lora.target_modules match no layer of the model: {', '.join(unmatched)}."
        raise BlockedError.of("lora_targets", message, fix, path="lora.target_modules", got=unmatched)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_dora=settings.use_dora,
        target_modules=list(settings.target_modules),
        init_lora_weights=settings.init_lora_weights,
    )
    try:
        dit.add_adapter(config)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise BlockedError.of("lora_targets", f"No target module matches the model: {reason}", fix) from None
    for parameter in dit.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return dit


def matches(dit: Any, targets: list[str]) -> dict[str, int]:
    """Return how many linear layers each target name matches; peft matches a whole dotted suffix."""
    linear = [name for name, module in dit.named_modules() if isinstance(module, torch.nn.Linear)]
    return {target: sum(name == target or name.endswith(f".{target}") for name in linear) for target in targets}
