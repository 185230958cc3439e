"""Prepares a loaded checkpoint for training: adapters, frozen parts, dtypes, sharding, execution."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from tao_skill_bank.bank import execution
from tao_skill_bank.errors import RequestError
from tao_skill_bank.models.cosmos_reason import memory, model, named_parts, sizes
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.config.train import TrainConfig
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.network import Network, parts, trained_copy
from tao_skill_bank.models.cosmos_reason.optimizer import part_of
from tao_skill_bank.models.cosmos_reason.training_setup import allowed_shares, needs_sharding, setup_of
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat
from tao_skill_bank.training import adapters, float8, four_bit
from tao_skill_bank.training.distributed import Ranks

logger = logging.getLogger(__name__)
UNPACKED = ("model.visual", "lm_head")  # small, and the loss reads the head; embeddings are not linear layers
RESHARD = {"default": None, "true": True, "false": False}


def prepare(
    config: TrainConfig, trainable: nn.Module, mesh: DeviceMesh, ranks: Ranks, how: tuple[PixelFormat, Execution]
) -> tuple[Network, bool]:
    """Set dtypes, bind the fast forward pass and shard; returns the network and whether it is sharded.

    Trained weights are kept as master_dtype, frozen ones as param_dtype; forward and backward run in param_dtype.
    """
    train = config.train
    network = Network(trainable, *how)
    if not needs_sharding(config):
        return network.to(ranks.device), False
    offload = CPUOffloadPolicy() if train.fsdp_offload and ranks.device.type == "cuda" else OffloadPolicy()
    precision = MixedPrecisionPolicy(
        param_dtype=getattr(torch, train.param_dtype), reduce_dtype=getattr(torch, train.fsdp_reduce_dtype)
    )
    options: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": precision,
        "offload_policy": offload,
        "reshard_after_forward": RESHARD[train.fsdp_reshard_after_forward],
    }
    kept_whole = frozen_tower(trainable)
    if kept_whole is not None:  # small, and ranks may run it a different number of times
        kept_whole.to(ranks.device, getattr(torch, train.param_dtype))
    for block in model.blocks(trainable):
        if kept_whole is None or not any(block is other for other in kept_whole.modules()):
            fully_shard(block, **options)
    ignored = set(kept_whole.parameters()) if kept_whole is not None else None
    fully_shard(network, **options, ignored_params=ignored)
    return network, True


def make_trainable(
    config: TrainConfig, loaded: nn.Module, base: Path, start: Callable[[nn.Module], None] | None = None
) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Add adapters or freeze the spec's parts, and set dtypes.

    Args:
        config: of the training.
        loaded: transformers' model.
        base: its folder, recorded in adapters.
        start: initializes new adapters differently from peft.

    Returns:
        The model, and the adapters' initial weights if their initialisation changed the base.

    Raises:
        RequestError: nothing is left to train.
        BlockedError: a setting names nothing that is trained.

    """
    lora, initial = config.policy.lora, {}
    trainable: nn.Module = loaded
    if lora:
        trainable = adapters.add(loaded, model.lora_options(config.policy), str(base), model.lora_fix(config.policy))
        if start is not None:
            start(trainable)
        initial = adapters.initial_state(trainable)
    freeze(trainable, config.policy.frozen_parts)
    named_parts.require(config, trainable)
    parameter_dtype, master_dtype = (
        getattr(torch, name) for name in (config.train.param_dtype, config.train.master_dtype)
    )
    for parameter in trainable.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(master_dtype if parameter.requires_grad else parameter_dtype)
    return trainable.train(), initial


def freeze(trainable: nn.Module, frozen: Sequence[str]) -> None:
    """Disable gradients of the given parts of a model (optimizer.part_of).

    Raises:
        RequestError: nothing is left to train.

    """
    for name, parameter in trainable.named_parameters():
        if part_of(name) in frozen:
            parameter.requires_grad = False
    if not any(parameter.requires_grad for parameter in trainable.parameters()):
        message = f"policy.frozen_parts {list(frozen)} leaves nothing to train."
        raise RequestError.of("nothing_to_train", message, "Remove a part from it.", path="policy.frozen_parts")


def frozen_tower(trainable: nn.Module) -> Any | None:
    """Return the vision tower when nothing in it is trained."""
    visual = trained_copy(parts(trainable).model.visual)
    return None if any(parameter.requires_grad for parameter in visual.parameters()) else visual


def require_hardware(config: TrainConfig, ranks: Ranks) -> None:
    """Refuse what this machine cannot compute before anything is loaded.

    Raises:
        BlockedError: it has no float8 arithmetic, or a library is missing.

    """
    if _float8(config) is not None:
        float8.require_gpu(ranks.device, "train.fp8.enable_fp8")
    packing(config)


def packing(config: TrainConfig) -> Any:
    """Return transformers' settings for a 4-bit base; None without 4-bit weights. Raises MissingExtraError."""
    if not (config.policy.lora and config.policy.lora.load_in_4bit):
        return None
    return four_bit.settings(getattr(torch, config.train.param_dtype), UNPACKED)


def _float8(config: TrainConfig) -> float8.Float8 | None:
    settings = config.train.fp8
    return float8.Float8.of(settings.quant_recipe) if settings.enable_fp8 else None


def choose(
    config: TrainConfig, trainable: nn.Module, load: Load, ranks: Ranks, *, features_cached: bool
) -> tuple[Execution, Load]:
    """Choose the fastest execution plan that fits the smallest GPU of all ranks: recomputation and micro-batch."""
    capacity = None
    if ranks.device.type == "cuda":
        here = torch.cuda.get_device_properties(ranks.device).total_memory
        capacity = -int(ranks.max([-float(here)])[0])
    setup = setup_of(config, features_cached=features_cached)
    plans = memory.execution_plans(sizes.shape_of(trainable), setup, load, allowed_shares(config))
    choice = execution.choose(plans, capacity)
    compiles = config.train.compile is True or (config.train.compile == "auto" and ranks.device.type == "cuda")
    recompute = float(choice.plan.settings["policy.model_gradient_checkpointing"])
    micro_batch = int(choice.plan.settings["train.train_policy.mini_batch"])
    logger.info("%s; compile %s; micro-batches of %d", choice.reason, compiles, micro_batch)
    has_dropout = bool(config.policy.lora and config.policy.lora.lora_dropout)
    return Execution(recompute, compiles, has_dropout, _float8(config)), replace(load, samples=micro_batch)
