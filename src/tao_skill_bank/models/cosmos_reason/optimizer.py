"""The optimizer and its learning rates, one per part of the model."""

from typing import Any

import torch
from torch import nn

from tao_skill_bank.models.cosmos_reason.config.train import Train
from tao_skill_bank.models.cosmos_reason.training_setup import length_of
from tao_skill_bank.training.schedule import Schedule

KINDS: dict[str, Any] = {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam}


def build(settings: Train, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of the spec over every trained weight."""
    optimizer: torch.optim.Optimizer = KINDS[settings.optm_name](
        parameter_groups(network, settings.optm_lr),
        betas=(settings.optm_betas[0], settings.optm_betas[1]),
        eps=settings.epsilon,
        weight_decay=settings.optm_weight_decay,
        fused=settings.optm_impl == "fused",
        foreach=settings.optm_impl == "foreach",
    )
    return optimizer


def schedule(settings: Train, steps_per_epoch: int) -> Schedule:
    """Return the spec's warm-up and decay over the whole run."""
    return Schedule(
        num_steps=length_of(settings).scheduled_steps(steps_per_epoch),
        num_warmup_steps=round(settings.optm_warmup_epochs * steps_per_epoch),
        decay=settings.optm_decay_type,
        min_factor=settings.optm_min_lr_factor,
    )


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def language_model_rate(peaks: float | list[float], factor: float) -> float:
    """Return the language model's learning rate, the one that is reported."""
    return (peaks[0] if isinstance(peaks, list) else peaks) * factor


def parameter_groups(model: nn.Module, peaks: float | list[float]) -> list[dict[str, Any]]:
    """Return optimizer groups, one per part of the model, each with its peak learning rate as `peak`.

    A list of peaks means [llm, vision, projector, lm_head]; a missing projector rate defaults to the vision
    tower's, a missing head rate to the language model's. Weight decay applies only to matrices, not norms and biases.
    """
    values = peaks if isinstance(peaks, list) else [peaks, peaks]
    parts = {
        "llm": values[0],
        "vision": values[1],
        "projector": values[2] if len(values) > 2 else values[1],
        "lm_head": values[3] if len(values) > 3 else values[0],
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((part_of(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "peak": parts[part], "lr": parts[part], **({} if decays else {"weight_decay": 0.0})}
        for (part, decays), parameters in groups.items()
    ]


def part_of(parameter_name: str) -> str:
    """Return the part of the model that a parameter belongs to: llm, vision, projector or lm_head."""
    if "visual." in parameter_name:
        is_projector = "merger" in parameter_name
        return "projector" if is_projector else "vision"
    return "lm_head" if "lm_head" in parameter_name else "llm"
