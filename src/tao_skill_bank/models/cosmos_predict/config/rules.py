"""Cross-field rules of this skill's specs. Each gives a fix with the nearest valid values."""

import itertools
from collections.abc import Mapping
from typing import Any

from tao_skill_bank.bank import step_limit
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.errors import Problem
from tao_skill_bank.models.cosmos_predict.facts import FACTS
from tao_skill_bank.models.cosmos_predict.geometry import SIZE_MULTIPLE, TEMPORAL_COMPRESSION, nearest_num_frames

HELD_OUT = 0.1  # of the training clips, where no others are there to validate on
JUDGE = "hf_model://nvidia/Cosmos-Reason2-8B"


def _size_is_a_multiple(path: str) -> Rule:
    def check(size: int) -> Problem | None:
        if size % SIZE_MULTIPLE == 0:
            return None
        below = size // SIZE_MULTIPLE * SIZE_MULTIPLE
        return Problem(
            code="size_not_a_multiple",
            message=f"{path} {size} is not a multiple of {SIZE_MULTIPLE}.",
            fix=f"Set {path} to {below} or {below + SIZE_MULTIPLE}.",
            path=path,
            got=size,
            expected=f"a multiple of {SIZE_MULTIPLE}",
            fix_set={path: max(1, (size + SIZE_MULTIPLE // 2 - 1) // SIZE_MULTIPLE) * SIZE_MULTIPLE},
        )

    return Rule((path,), check)


def _frames_fit_the_latents(path: str) -> Rule:
    def check(num_frames: int) -> Problem | None:
        if num_frames % TEMPORAL_COMPRESSION == 1:
            return None
        below, above = nearest_num_frames(num_frames)
        return Problem(
            code="frames_not_4k_plus_1",
            message=f"{path} {num_frames} is not 4 k + 1: the first frame has its own latent frame, then every "
            "four share one.",
            fix=f"Set {path} to {below} or {above}.",
            path=path,
            got=num_frames,
            expected="4 k + 1",
            fix_set={path: min(below, above, key=lambda count: abs(count - num_frames))},
        )

    return Rule((path,), check)


def _clip_rules(prefix: str) -> tuple[Rule, ...]:
    return (
        _size_is_a_multiple(f"{prefix}height"),
        _size_is_a_multiple(f"{prefix}width"),
        _frames_fit_the_latents(f"{prefix}num_frames"),
    )


def _training_has_validation(val_dir: str | None, test_size: float, enabled: bool) -> Problem | None:
    if val_dir or test_size > 0 or not enabled:
        return None
    return Problem(
        code="missing_validation_data",
        message="Validation is on, but there is no validation data.",
        fix="Give an eval dataset (--eval PATH), or set dataset.test_size above 0, or set validation.enable=false.",
        path="dataset.val_dir",
        fix_choices=({"dataset.test_size": HELD_OUT}, {"validation.enable": False}),
    )


def _probabilities_sum_to_one(probabilities: Mapping[str, float]) -> Problem | None:
    total = sum(probabilities.values())
    if round(abs(total - 1), 6) <= 0.01:  # thirds are rounded: .333 or .33
        return None
    path = "flow.conditional_frames_probs"
    scaled = (
        {count: round(share / total, 6) for count, share in probabilities.items()} if total else {"1": 0.5, "2": 0.5}
    )
    return Problem(
        code="probabilities_off",
        message=f"{path} sum to {total:g}.",
        fix=f"Make the values of {path} sum to 1, such as in the same proportions.",
        path=path,
        got=total,
        expected=1,
        fix_set={path: scaled},
    )


def _clips_leave_something_to_predict(probabilities: Mapping[str, float], num_frames: int) -> Problem | None:
    latent_frames = (num_frames - 1) // TEMPORAL_COMPRESSION + 1
    largest = max((int(count) for count, share in probabilities.items() if share > 0), default=0)
    if latent_frames > largest:
        return None
    path = "dataset.num_frames"
    message = (
        f"{path} {num_frames} gives {latent_frames} latent frames, and up to {largest} of them are conditioned: "
        "there is nothing left to predict."
    )
    fewest = TEMPORAL_COMPRESSION * largest + 1
    fix = f"Set {path} to {fewest} or more."
    return Problem("nothing_to_predict", message, fix, path, num_frames, f">= {fewest}", {path: fewest})


def _sampled_clips_are_validated(count: int, enabled: bool) -> Problem | None:
    if not count or enabled:
        return None
    path = "validation.sample_videos"
    message = f"{path} is {count}, but videos are sampled at validations, and validation.enable is false."
    fix, choices = f"Set validation.enable=true, or {path}=0.", ({"validation.enable": True}, {path: 0})
    return Problem("samples_without_validation", message, fix, path, count, 0, fix_choices=choices)


def _one_condition(prompt: str | None, image: str | None, video: str | None) -> Problem | None:
    named = [name for name, value in (("image", image), ("video", video)) if value]
    if len(named) == 2:
        message, choices = "image and video are both given.", ({"image": None}, {"video": None})
        return Problem("image_and_video", message, "Keep one of them.", "image", image, fix_choices=choices)
    if named and not prompt:
        message = f"{named[0]} belongs to a single video, but there is no prompt."
        fix = f"Set prompt, or remove {named[0]}."
        return Problem("condition_without_prompt", message, fix, named[0], fix_choices=({named[0]: None},))
    return None


def _limited_inputs_are_many(limit: int | None, prompt: str | None) -> Problem | None:
    if limit is None or not prompt:
        return None
    message = f"limit {limit} takes some of the inputs, and there is one prompt."
    return Problem("limit_of_one", message, "Remove limit.", "limit", limit, fix_set={"limit": None})


def _adapter_names_differ(adapters: list[Mapping[str, Any]]) -> Problem | None:
    names = [adapter["name"] for adapter in adapters]
    taken = [name for name in names if names.count(name) > 1 or name == "base"]
    if not taken:
        return None
    message = f"Adapter names must differ from each other and from 'base': {', '.join(sorted(set(taken)))}."
    renamed = [{**adapter, "name": name} for adapter, name in zip(adapters, _unique(names), strict=True)]
    fix = "Give every adapter a unique name."
    return Problem("adapter_names", message, fix, "adapters", taken, fix_set={"adapters": renamed})


def _unique(names: list[str]) -> list[str]:
    """Return names with a number where one is taken."""
    unique: list[str] = []
    for name in names:
        numbered = (f"{name}-{count}" for count in itertools.count(2))
        taken = {"base", *unique, *(other for other in names if other != name)}
        unique.append(name if name not in taken else next(each for each in numbered if each not in taken))
    return unique


def _something_is_generated(adapters: list[Any], include_base: bool) -> Problem | None:
    if adapters or include_base:
        return None
    message = "There is nothing to generate with: no adapters, and include_base is false."
    fix, path = "Name an adapter, or set include_base=true.", "include_base"
    return Problem("no_variant", message, fix, path, include_base, True, {path: True})


def _judge_is_named(metrics: list[str], model: str | None, endpoint: str | None, name: str | None) -> Problem | None:
    judged = [metric for metric in metrics if metric.startswith("judge_")]
    if not judged:
        return None
    if bool(model) == bool(endpoint):
        what = "need one judge, and two are given" if model else "need a judge"
        fix = (
            "Keep one of judge.model and judge.endpoint."
            if model
            else f"Set judge.model={JUDGE} (or a local checkpoint), or judge.endpoint=URL "
            "and judge.endpoint_model=NAME, or metrics=[sampson]."
        )
        others = [metric for metric in metrics if metric not in judged]
        choices: tuple[dict[str, Any], ...] = (
            ({"judge.endpoint": None}, {"judge.model": None})
            if model
            else ({"judge.model": JUDGE}, {"metrics": others or ["sampson"]})
        )
        message = f"The metrics {', '.join(judged)} {what}."
        return Problem("no_judge", message, fix, "judge.model", fix_choices=choices)
    if endpoint and not name:
        fix = "Set judge.endpoint_model to the model that the server offers."
        return Problem("no_endpoint_model", "judge.endpoint needs a model name.", fix, "judge.endpoint_model")
    return None


def _endpoint_is_a_url(endpoint: str | None) -> Problem | None:
    if not endpoint or endpoint.startswith(("http://", "https://")):
        return None
    path = "judge.endpoint"
    fix_set = {} if "://" in endpoint else {path: f"http://{endpoint}"}
    message, wanted = f"{path} '{endpoint}' is not a URL.", "http://HOST:PORT/v1"
    return Problem("invalid_url", message, f"Write {wanted}.", path, endpoint, wanted, fix_set)


LENGTH_RULES = (FACTS.early_stop.rule, step_limit.rule(FACTS.max_steps, FACTS.early_stop.stop))
RULES: Mapping[str, tuple[Rule, ...]] = {
    "train": (
        *_clip_rules("dataset."),
        Rule(("dataset.val_dir", "dataset.test_size", "validation.enable"), _training_has_validation),
        Rule(("flow.conditional_frames_probs",), _probabilities_sum_to_one),
        Rule(("flow.conditional_frames_probs", "dataset.num_frames"), _clips_leave_something_to_predict),
        Rule(("validation.sample_videos", "validation.enable"), _sampled_clips_are_validated),
        *LENGTH_RULES,
    ),
    "generate": (
        *_clip_rules(""),
        Rule(("prompt", "image", "video"), _one_condition),
        Rule(("limit", "prompt"), _limited_inputs_are_many),
        Rule(("adapters",), _adapter_names_differ),
        Rule(("adapters", "include_base"), _something_is_generated),
    ),
    "evaluate": (
        Rule(("metrics", "judge.model", "judge.endpoint", "judge.endpoint_model"), _judge_is_named),
        Rule(("judge.endpoint",), _endpoint_is_a_url),
    ),
}
