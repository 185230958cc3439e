"""Compares the pixels of clips with the size that every frame of them is resized to."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, listed
from tao_skill_bank.data.clip_outcomes import ClipOutcomes

STRETCHED = 1.15  # a circle is visibly an ellipse
ENLARGED = 1.5  # per side: more than half of the pixels are interpolated

Size = tuple[int, int]


@dataclass(frozen=True)
class Keys:
    """The keys of the spec that decide the size; `aspect`, set true, keeps the aspect ratio of every clip."""

    height: str
    width: str
    aspect: str = ""


@dataclass(frozen=True)
class Resizing:
    """The size of every frame in pixels, multiples of `multiple`; only its area where clips keep their aspect."""

    height: int
    width: int
    multiple: int
    keys: Keys
    keeps_aspect: bool = False

    def stretch(self, size: Size) -> float:
        """Return by how much a clip of (height, width) is distorted; 1 where it keeps its aspect ratio."""
        if self.keeps_aspect:
            return 1.0
        ratio = (self.width / self.height) / (size[1] / size[0])
        return max(ratio, 1 / ratio)

    def scale(self, size: Size) -> float:
        """Return by how much a clip is enlarged per side; below 1 where it is made smaller."""
        return math.sqrt(self.height * self.width / (size[0] * size[1]))

    def fitting(self, size: Size) -> Size:
        """Return the (height, width) with the aspect ratio of a clip, not larger than the clip or the spec's area."""
        factor = min(1.0, self.scale(size))
        height, width = (max(1, round(side * factor / self.multiple)) * self.multiple for side in size)
        return height, width


def check(clips: ClipOutcomes, resizing: Resizing | None) -> list[Finding]:
    """Return a warning where clips are distorted, and one where they are enlarged."""
    sizes = {path: (probe.height, probe.width) for path, probe in clips.probes.items() if probe.height and probe.width}
    if resizing is None or not sizes:
        return []
    large = {path: size for path, size in sizes.items() if resizing.scale(size) > ENLARGED}
    odd = {path: size for path, size in sizes.items() if resizing.stretch(size) > STRETCHED}
    usual = statistics.mode(sizes.values())
    found = []
    if large:
        found.append(_enlarged(clips, resizing, large, usual))
    if odd:
        found.append(_stretched(clips, resizing, odd, sizes))
    return found


def _enlarged(clips: ClipOutcomes, resizing: Resizing, large: Mapping[Path, Size], usual: Size) -> Finding:
    worst = max(large.values(), key=resizing.scale)
    message = (
        f"{clips.folder}: {_which(clips, large)} are enlarged up to {resizing.scale(worst):.2g} times per side, "
        f"from {worst[1]}x{worst[0]} to {resizing.width}x{resizing.height} pixels: frames are interpolated."
    )
    settings = _settings(resizing, usual)
    fix = f"Set {_words(settings)}, the nearest valid size to most clips' {usual[1]}x{usual[0]} pixels: fewer pixels "
    fix += "train faster, too."
    return Finding("clips_enlarged", "warning", message, fix, clips.folder, _evidence(clips, large), fix_set=settings)


def _stretched(
    clips: ClipOutcomes, resizing: Resizing, odd: Mapping[Path, Size], sizes: Mapping[Path, Size]
) -> Finding:
    worst = max(odd.values(), key=resizing.stretch)
    message = (
        f"{clips.folder}: {_which(clips, odd)} are stretched by up to {resizing.stretch(worst):.2g} times, "
        f"from {worst[1]}x{worst[0]} to {resizing.width}x{resizing.height} pixels: circles become ellipses."
    )
    usual = statistics.mode(sizes.values())
    fitted = resizing.fitting(usual)
    settings = _settings(resizing, usual)
    shaped = Resizing(*fitted, resizing.multiple, resizing.keys)
    if resizing.keys.aspect and any(shaped.stretch(size) > STRETCHED for size in sizes.values()):
        settings = {resizing.keys.aspect: True}
        fix = f"Set {_words(settings)}: their aspect ratios differ, and each keeps its own."
    else:
        fix = f"Set {_words(settings)}, which has their aspect ratio."
    return Finding("clips_stretched", "warning", message, fix, clips.folder, _evidence(clips, odd), fix_set=settings)


def _settings(resizing: Resizing, usual: Size) -> dict[str, Any]:
    height, width = resizing.fitting(usual)
    return {resizing.keys.height: height, resizing.keys.width: width}


def _words(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={str(value).lower()}" for key, value in settings.items())


def _which(clips: ClipOutcomes, some: Mapping[Path, Size]) -> str:
    number = f"all {len(some)} clips" if len(some) == len(clips.probes) else f"{len(some)} of {len(clips.probes)} clips"
    return f"{number} ({listed([clips.name(path) for path in some])})"


def _evidence(clips: ClipOutcomes, some: Mapping[Path, Size]) -> dict[str, Any]:
    sizes = [list(size) for size in dict.fromkeys(some.values())]
    return {**clips.evidence(list(some)), "sizes": sizes[:MAX_LISTED]}
