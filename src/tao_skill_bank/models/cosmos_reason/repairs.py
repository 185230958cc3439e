"""Which parameters of this skill's specs resolve which finding of preflight; see `preflight/repairs`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tao_skill_bank.core import nested
from tao_skill_bank.models.cosmos_reason.workload import SCHEME_ARCHITECTURE

Spec = Mapping[str, Any]
Evidence = Mapping[str, Any]
Ways = Sequence[dict[str, Any]]
EXTRA_CHECKPOINTS = 2  # besides those that are kept: the best one, and the one being written
DEFAULT_FPS = 1.0


def _split(_: Spec, evidence: Evidence) -> Ways:
    """Return a tenth of the records to validate on, at least one; a single record leaves none."""
    records = evidence["records"]
    if records < 2:
        return ({"validation.enable": False},)
    return ({"train.train_policy.dataset.test_size": max(1, records // 10)},)


def _fewer_frames(spec: Spec, evidence: Evidence) -> Ways:
    if "vision" not in spec and "custom" not in spec:
        return ({"num_frames": evidence["largest"]}, {"num_frames": None, "fps": DEFAULT_FPS})
    vision = vision_prefix(spec)
    return ({f"{vision}nframes": evidence["largest"]}, {f"{vision}nframes": None, f"{vision}fps": DEFAULT_FPS})


def vision_prefix(spec: Spec) -> str:
    """Return what precedes the name of a parameter of the frames' sampling."""
    return "custom.vision." if "custom" in spec else "vision." if "vision" in spec else ""


def sequence_keys(spec: Spec) -> dict[str, str]:
    """Return the parameters that a sequence's length depends on: its limit, the answer's, the rate and the pixels."""
    vision = vision_prefix(spec)
    named = {
        "limit": ("policy.model_max_length", "model.max_length", "quantize.max_sequence_length"),
        "answer": ("generation.max_tokens", "max_new_tokens"),
        "rate": (f"{vision}fps",),
        "pixels": (f"{vision}total_pixels",),
    }
    there = {name: [path for path in paths if nested.get(spec, path) is not None] for name, paths in named.items()}
    return {name: paths[0] for name, paths in there.items() if paths}


def _targets(_: Spec, evidence: Evidence) -> Ways:
    matched = [name for name, count in evidence["targets"].items() if count]
    return ({"policy.lora.target_modules": matched or None},)


def _disk(spec: Spec, evidence: Evidence) -> Ways:
    """Return how many checkpoints may be kept, where some of them have room."""
    kept = evidence.get("room", 0) - EXTRA_CHECKPOINTS
    return ({"train.ckpt.max_keep": kept},) if kept > 0 and nested.get(spec, "train.ckpt") else ()


def _no_feature_cache(_: Spec, __: Evidence) -> Ways:
    return ({"train.train_policy.vision_feature_cache": "off"},)


def _format(spec: Spec, _: Evidence) -> Ways:
    """Return what computes without the format that a GPU lacks."""
    if "train" in spec:
        return ({"train.fp8.enable_fp8": False},)
    needed = SCHEME_ARCHITECTURE[spec["quantize"]["quantization_scheme"]]
    others = [name for name, architecture in SCHEME_ARCHITECTURE.items() if architecture < needed]
    path = "quantize.quantization_scheme"
    return ({"quantize.for_another_machine": True}, *({path: name, "quantize.kv_precision": "bf16"} for name in others))


CHOICES: Mapping[str, Callable[[Spec, Evidence], Ways]] = {
    "split_empty": _split,
    "media_too_short": _fewer_frames,
    "adapter_targets_unmatched": _targets,
    "disk_too_small": _disk,
    "feature_disk_too_small": _no_feature_cache,
    "gpu_lacks_format": _format,
}
