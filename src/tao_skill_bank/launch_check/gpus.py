"""Compares the GPUs of this machine, or those that the flags describe, with the flags' requirements."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import plain_text, settings
from tao_skill_bank.core.findings import blocking, info, not_checked, warning
from tao_skill_bank.preflight.machine.hardware import NoDriverError, list_gpus, visible

ARCHITECTURE = re.compile(r"(?:sm_?|compute_?)?(\d+)\.?(\d)([af]?)", re.IGNORECASE)
GB = 1e9


@dataclass(frozen=True)
class Target:
    """The GPUs that are checked; None where nothing is known."""

    count: int | None
    memory_bytes: tuple[int, ...] | None
    architecture: str | None


def check(flags: argparse.Namespace) -> Iterator[Finding]:
    """Yield the findings of every GPU requirement. Requirements that cannot be checked are reported as such."""
    if not _requires_anything(flags):
        return
    target, why = _target(flags)
    checks = (
        _count(flags, target),
        _memory(flags, target),
        _total_memory(flags, target),
        _architectures(flags, target),
    )
    unknown = []
    for name, finding in (entry for found in checks for entry in found):
        if finding:
            yield finding
        else:
            unknown.append(name)
    if unknown:
        message = f"GPU requirement not checked: {', '.join(unknown)} ({why or 'the flags do not describe the target'})"
        fix = "Describe the target: --target-gpu-count, --target-gpu-memory-gb, --gpu-arch."
        is_access_refused = flags.skip_platform_access or find_spec("pynvml") is None
        yield (
            not_checked("gpu_not_checked", message, fix) if is_access_refused else blocking("gpu_missing", message, fix)
        )


def normalise(architecture: str) -> str:
    """Return `sm_103a` for 10.3a, sm103a and compute_103a.

    Raises:
        ValueError: the text is not an architecture.

    """
    match = ARCHITECTURE.fullmatch(architecture.strip())
    if not match:
        raise ValueError(architecture)
    return f"sm_{match[1]}{match[2]}{match[3].lower()}"


def allows(allowed: str, architecture: str) -> bool:
    """Return whether code for `allowed` runs on a GPU: the same number, or the same family for an f suffix."""
    ours, theirs = normalise(allowed), normalise(architecture)
    number, other = int(re.sub(r"\D", "", ours)), int(re.sub(r"\D", "", theirs))
    if ours.endswith("f"):
        return number // 10 == other // 10 and other >= number
    return number == other


def _requires_anything(flags: argparse.Namespace) -> bool:
    return any(
        (
            flags.gpu_min_count,
            flags.gpu_min_memory_gb,
            flags.gpu_min_total_memory_gb,
            flags.gpu_arch_allowlist,
            flags.image_supported_sm,
        )
    )


def _target(flags: argparse.Namespace) -> tuple[Target, str]:
    """Return the GPUs to check, and why this machine was not queried."""
    described = Target(
        flags.target_gpu_count,
        (round(flags.target_gpu_memory_gb * 2**30),) * (flags.target_gpu_count or 1)
        if flags.target_gpu_memory_gb
        else None,
        flags.gpu_arch,
    )
    if flags.skip_platform_access:
        return described, "--skip-platform-access"
    if flags.target_gpu_count or flags.target_gpu_memory_gb:
        return described, ""
    if find_spec("pynvml") is None:
        return described, "pip install 'tao-skill-bank[train]' to query this machine"
    try:
        gpus = visible(list_gpus(), settings.visible_gpus())
    except NoDriverError as error:
        return described, f"the NVIDIA driver does not respond: {error}"
    if flags.target_gpu_index is not None:
        gpus = [gpu for gpu in gpus if gpu.index == flags.target_gpu_index]
    if not gpus:
        return Target(0, (), flags.gpu_arch), "no GPU is visible"
    oldest = min(gpu.architecture for gpu in gpus)
    return Target(len(gpus), tuple(gpu.memory_bytes for gpu in gpus), flags.gpu_arch or f"sm_{oldest}"), ""


def _count(flags: argparse.Namespace, target: Target) -> Iterator[tuple[str, Finding | None]]:
    needed = flags.gpu_min_count
    if not needed:
        return
    if target.count is None:
        yield "GPU count", None
    elif target.count < needed:
        message = f"GPU count too low: {target.count}, needs {needed}"
        yield "GPU count", blocking("gpu_missing", message, f"Use a machine with {plain_text.counted(needed, 'GPU')}.")
    else:
        yield "GPU count", info("gpus", f"GPU count OK: {target.count}")


def _memory(flags: argparse.Namespace, target: Target) -> Iterator[tuple[str, Finding | None]]:
    needed = flags.gpu_min_memory_gb
    if target.memory_bytes:
        smallest = min(target.memory_bytes) / 2**30
        if needed and smallest < needed:
            message = f"GPU memory too low: {smallest:.1f} GiB, needs {needed:g} GiB"
            yield "GPU memory", blocking("gpu_memory_short", message, "Use GPUs with more memory.")
        elif needed:
            yield "GPU memory", info("gpu_memory", f"GPU memory OK: {smallest:.1f} GiB")
        if smallest < flags.low_vram_threshold_gb:
            message = f"Low VRAM: {smallest:.1f} GiB, below {flags.low_vram_threshold_gb:g} GiB"
            fix = "Lower the micro-batch or the size of a sample, or shard over more GPUs."
            yield "GPU memory", warning("gpu_memory_tight", message, fix)
    elif needed:
        yield "GPU memory", None


def _total_memory(flags: argparse.Namespace, target: Target) -> Iterator[tuple[str, Finding | None]]:
    needed = flags.gpu_min_total_memory_gb
    if not needed:
        return
    if target.memory_bytes is None:
        yield "total GPU memory", None
        return
    total = sum(target.memory_bytes) / GB
    if total < needed:
        message = f"Total GPU memory too low: {total:.1f} GB, needs {needed:g} GB"
        yield "total GPU memory", blocking("gpu_memory_short", message, "Use more or larger GPUs.")
    else:
        yield "total GPU memory", info("gpu_memory", f"Total GPU memory OK: {total:.1f} GB")


def _architectures(flags: argparse.Namespace, target: Target) -> Iterator[tuple[str, Finding | None]]:
    lists = dict(flags.gpu_arch_allowlist)
    if flags.image_supported_sm:
        lists["image"] = tuple(filter(None, flags.image_supported_sm.split(",")))
    for label, allowed in lists.items():
        if target.architecture is None:
            yield f"GPU architecture of {label}", None
        elif any(allows(entry, target.architecture) for entry in allowed):
            yield label, info("gpu_architecture", f"GPU architecture OK: {label}={normalise(target.architecture)}")
        else:
            names = ", ".join(normalise(entry) for entry in allowed)
            message = f"GPU architecture not allowed: {label}={normalise(target.architecture)}, allowed {names}"
            yield label, blocking("gpu_architecture", message, f"Use a GPU of {names}.")
