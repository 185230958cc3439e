"""Which parameters of this skill's specs resolve which finding of preflight; see `preflight/repairs`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Spec = Mapping[str, Any]
Evidence = Mapping[str, Any]
Ways = Sequence[dict[str, Any]]
EXTRA_CHECKPOINTS = 2  # besides those that are kept: the best one, and the one being written


def _split(_: Spec, evidence: Evidence) -> Ways:
    """Return a tenth of the clips to validate on, at least one; a single clip leaves none."""
    clips = evidence["records"]
    return ({"dataset.test_size": max(1, clips // 10)},) if clips > 1 else ({"validation.enable": False},)


def _fewer_frames(spec: Spec, evidence: Evidence) -> Ways:
    largest = evidence.get("largest")
    path = "dataset.num_frames" if "dataset" in spec else "min_frames"
    return ({path: largest},) if largest else ()


def _targets(_: Spec, evidence: Evidence) -> Ways:
    matched = [name for name, count in evidence["targets"].items() if count]
    return ({"lora.target_modules": matched or None},)


def _disk(spec: Spec, evidence: Evidence) -> Ways:
    """Return how many checkpoints may be kept, where some of them have room."""
    kept = evidence.get("room", 0) - EXTRA_CHECKPOINTS
    return ({"ckpt.max_keep": kept},) if kept > 0 and "ckpt" in spec else ()


CHOICES: Mapping[str, Callable[[Spec, Evidence], Ways]] = {
    "split_empty": _split,
    "clips_too_short": _fewer_frames,
    "adapter_targets_unmatched": _targets,
    "disk_too_small": _disk,
}
