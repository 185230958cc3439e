"""Finds settings that name parts or layers of the model in which nothing is trained: they would have no effect."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.models.cosmos_reason.config.train import Lora, TrainConfig
from tao_skill_bank.models.cosmos_reason.optimizer import part_of

PARTS = ("llm", "vision", "projector", "lm_head")  # the order of a list of learning rates
RATES, FROZEN = "train.optm_lr", "policy.frozen_parts"
TIED = "it shares its weights with the token embeddings of this model, which are part of llm"
CODE = "names_nothing"


def require(config: TrainConfig, trainable: nn.Module) -> None:
    """Raise BlockedError with every setting of `find`."""
    if problems := list(find(config, trainable)):
        raise BlockedError(problems)


def find(config: TrainConfig, trainable: nn.Module) -> Iterator[Problem]:
    """Yield the settings that name nothing that is trained, or freeze what has no weights of its own.

    Args:
        config: of the training.
        trainable: the model with its adapters and frozen parts; its weights may be on the meta device.

    """
    yield from _frozen_parts(config, has_head(trainable))
    if config.policy.lora:
        yield from _adapters(config.policy.lora, config.policy.frozen_parts, trainable)
    yield from _learning_rates(config, trainable)


def has_head(trainable: nn.Module) -> bool:
    """Return whether lm_head has weights of its own; tied weights are named once, as the embeddings."""
    return any(part_of(name) == "lm_head" for name, _ in trainable.named_parameters())


def _frozen_parts(config: TrainConfig, has_head: bool) -> Iterator[Problem]:
    frozen = config.policy.frozen_parts
    if config.policy.lora or has_head or "lm_head" not in frozen or "llm" in frozen:
        return
    kept = [part for part in frozen if part != "lm_head"]
    message = f"{FROZEN} names lm_head, and {TIED}: it would be trained."
    fix = f"Freeze both: {_assignment(FROZEN, [*frozen, 'llm'])}, or neither: {_assignment(FROZEN, kept)}"
    choices = ({FROZEN: [*frozen, "llm"]}, {FROZEN: kept})
    yield Problem(CODE, message, fix, FROZEN, list(frozen), fix_choices=choices)


def _adapters(lora: Lora, frozen: Sequence[str], trainable: nn.Module) -> Iterator[Problem]:
    adapted = [
        name.removeprefix("base_model.model.")
        for name, module in trainable.named_modules()
        if hasattr(module, "lora_A") and len(module.lora_A)
    ]
    reason = f" outside of {FROZEN} {list(frozen)}" if frozen else ""
    path = "policy.lora.target_modules"
    absent = [target for target in lora.target_modules if not _is_adapted(target, adapted)]
    others = [name for name in lora.target_modules if name not in absent]
    for target in absent:
        message = f"{path} names {target}, and the model has no such layer{reason}."
        fix = f"Remove it: {_assignment(path, others)}" + (f", or change {FROZEN}." if frozen else "")
        ways = [{path: others}] * bool(others) + [{FROZEN: []}] * bool(frozen)
        yield _with_ways(Problem(CODE, message, fix, path, target), ways)
    if lora.modules_to_save and not any(
        weight.requires_grad for name, weight in trainable.named_parameters() if "modules_to_save" in name
    ):
        path = "policy.lora.modules_to_save"
        message = f"{path} {lora.modules_to_save} trains nothing: {FROZEN} {list(frozen)} freezes all of it."
        problem = Problem(CODE, message, f"{_assignment(path, [])}, or change {FROZEN}.", path, lora.modules_to_save)
        yield _with_ways(problem, [{path: []}, {FROZEN: []}])
    for path, patterns in (("r_pattern", lora.r_pattern), ("alpha_pattern", lora.alpha_pattern)):
        problems = list(_patterns(f"policy.lora.{path}", list(patterns), adapted))
        useful = {name: value for name, value in patterns.items() if name not in [each.got for each in problems]}
        yield from (replace(each, fix_set={each.path: useful}) for each in problems)


def _is_adapted(target: str, adapted: Sequence[str]) -> bool:
    return target == "all-linear" or any(f".{name}".endswith(f".{target}") for name in adapted)


def _with_ways(problem: Problem, ways: Sequence[dict[str, Any]]) -> Problem:
    """Return a problem with its fix, where it has one way out only, or with those to choose from."""
    return replace(problem, fix_set=ways[0]) if len(ways) == 1 else replace(problem, fix_choices=tuple(ways))


def _patterns(path: str, patterns: Sequence[str], adapted: Sequence[str]) -> Iterator[Problem]:
    """Yield the patterns that no adapter is matched by; the first that matches wins, as in peft."""
    remaining = list(adapted)
    example = next((re.escape(name.partition("layers.")[2] or name) for name in adapted), "NAME")
    for pattern in patterns:
        compiled = re.compile(rf"(.*\.)?({pattern})$")
        found = [name for name in adapted if compiled.match(name)]
        if not any(name in remaining for name in found):
            why = (
                "an earlier pattern takes all that it matches" if found else "no layer with an adapter has such a name"
            )
            fix = f"Remove it, or write a regular expression of the end of a name, such as {example}."
            yield Problem(CODE, f"{path} '{pattern}' has no effect: {why}.", fix, path, pattern)
        remaining = [name for name in remaining if name not in found]


def _learning_rates(config: TrainConfig, trainable: nn.Module) -> Iterator[Problem]:
    """Yield the rates of a list that no weight is trained with."""
    rates = config.train.optm_lr
    if not isinstance(rates, list):
        return
    trained = {part_of(name) for name, weight in trainable.named_parameters() if weight.requires_grad}
    given = dict(zip(PARTS, rates, strict=False))
    every = {"projector": rates[1], "lm_head": rates[0], **given}  # as in optimizer.parameter_groups
    acting = [every[part] for part in PARTS if part in trained]
    unused = [part for part, rate in given.items() if part not in trained and rate not in acting]
    if not unused:
        return
    kept = [rate if part in trained else acting[0] for part, rate in given.items()]
    if "lm_head" in given and "lm_head" not in trained:
        kept.pop()
    simplest = kept if len(set(kept)) > 1 else kept[0]
    why = TIED if unused == ["lm_head"] and not has_head(trainable) else "nothing of it is trained"
    message = (
        f"{RATES} {rates} gives a rate to {', '.join(unused)} ({', '.join(f'{given[part]:g}' for part in unused)}), "
    )
    message += f"but {why}."
    fix = f"Set {_assignment(RATES, simplest)}, or train that part."
    yield Problem(CODE, message, fix, RATES, rates, fix_set={RATES: simplest})


def _assignment(path: str, value: object) -> str:
    return f"--set {path}='{json.dumps(value)}'"
