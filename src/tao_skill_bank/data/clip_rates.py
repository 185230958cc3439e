"""Compares the frame rates of clips with the rate that a spec says, or with each other."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import listed, warning
from tao_skill_bank.data.clip_outcomes import ClipOutcomes

TOLERANCE = 0.01
COMMAND = "python -m tao_skill_bank.constant_rate IN.mp4 OUT.mp4 --fps"


def check(clips: ClipOutcomes, frames_per_second: float = 0, key: str = "") -> list[Finding]:
    """Return a warning for clips whose rate is not the one of the spec or, where that has none, of most clips.

    Args:
        clips: the probed clips of a folder.
        frames_per_second: what the spec says; 0 for nothing.
        key: the key of the spec that says so.

    """
    rates = {path: probe.container_fps for path, probe in clips.probes.items() if probe.container_fps}
    if not rates:
        return []
    most = Counter(round(rate, 2) for rate in rates.values()).most_common(1)[0][0]
    meant = frames_per_second or most
    other = {path: rate for path, rate in rates.items() if abs(rate - meant) > TOLERANCE * meant}
    if not other:
        return []
    names = listed([f"{clips.name(path)} ({rate:g})" for path, rate in other.items()])
    said = _said(rates, other, meant, key)
    message = f"{clips.folder}: {said}: {names}. Frames are taken one by one, {_effect(rates, other, meant)}."
    fix = f"Write copies at one rate: {COMMAND} {meant:g}"
    choices: tuple[dict[str, Any], ...] = ()
    if key and len(set(other.values())) == 1 and len(other) == len(rates) and most.is_integer():
        fix += f"; or set {key}={most:g}"
        choices = ({key: int(most)},)
    found = warning("clip_rates_differ", message, fix, clips.folder, **clips.evidence(list(other)))
    return [replace(found, fix_choices=choices)]


def _said(rates: Mapping[Path, float], other: Mapping[Path, float], meant: float, key: str) -> str:
    if not key:
        return f"most clips have {meant:g} frames per second, {len(other)} another rate"
    number = f"all {len(rates)}" if len(other) == len(rates) else f"{len(other)} of {len(rates)}"
    return f"{number} clips have another rate than the {meant:g} frames per second of {key}"


def _effect(rates: Mapping[Path, float], other: Mapping[Path, float], meant: float) -> str:
    """Return how motion appears: at another speed when all clips have the same other rate."""
    if len(other) < len(rates) or len(set(rates.values())) > 1:
        return "so the model sees motion at several speeds"
    factor = meant / next(iter(rates.values()))
    speed = f"{factor:.3g} times as fast" if factor > 1 else f"{1 / factor:.3g} times as slow"
    return f"so the model sees motion {speed} as it was recorded"
