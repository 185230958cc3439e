"""Reads how a checkpoint's processors cut and size pixels, as transformers does when it serves it. No torch here."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import architectures
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL, Geometry, PixelLimits

WHOLE = "processor_config.json"  # of all processors, which comes before the files of each in transformers
IMAGE = "preprocessor_config.json"
VIDEO = "video_preprocessor_config.json"
FILES = (WHOLE, IMAGE, VIDEO)
PUBLISHED = "the limits that Qwen publishes with Qwen3-VL"
CAP = "cap_pixels_per_frame"
CAP_TOKENS = 768  # of a video processor that sets the cap without a number, in transformers


def image_document(folder: Path) -> dict[str, Any]:
    """Return the settings of a checkpoint's image processor; empty without a file. Raises BlockedError if broken."""
    return _part(folder, "image_processor") or _read(folder / IMAGE)


def video_document(folder: Path) -> dict[str, Any]:
    """Return the settings of a checkpoint's video processor: without a file of its own, the image processor's."""
    return _part(folder, "video_processor") or _read(folder / VIDEO) or image_document(folder)


def geometry_of(folder: Path) -> Geometry:
    """Return the patch sizes and pixel limits of a checkpoint folder; Qwen3-VL's where it does not say.

    Raises:
        BlockedError: a file of its processors is not JSON, or has sizes that are not positive whole numbers.

    """
    image, video = image_document(folder), video_document(folder)
    default = QWEN3_VL.limits
    least, most = _bounds(folder, image, (default.min_image_pixels, default.max_image_pixels))
    least = _whole_number(folder, image, "min_pixels", least)  # older keys, which transformers reads for images only
    most = _whole_number(folder, image, "max_pixels", most)
    least_video, most_video = _bounds(folder, video, (default.min_video_pixels, default.max_video_pixels))
    frame_tokens = video.get("max_video_tokens", CAP_TOKENS) if video.get(CAP) else None
    limits = PixelLimits(least, most, least_video, most_video, frame_tokens)
    default_sizes = (QWEN3_VL.patch_size, QWEN3_VL.temporal_patch_size, QWEN3_VL.merge_size)
    keys = ("patch_size", "temporal_patch_size", "merge_size")
    patch, temporal, merge = (
        _whole_number(folder, image, key, size) for key, size in zip(keys, default_sizes, strict=True)
    )
    return Geometry(patch, temporal, merge, limits)


def geometry_of_model(uri: str) -> tuple[Geometry, str]:
    """Return the geometry of a model that a spec names, and where it was read, before anything is downloaded.

    Raises:
        BlockedError: like `geometry_of`.

    """
    for file in FILES:
        path = next((path for path in architectures.local_files(uri, file) if path.is_file()), None)
        if path is not None:
            folder = path.parent
            return _geometry_of(
                folder, tuple(_changed(folder / name) for name in FILES)
            ), f"the processor files of {uri}"
    return QWEN3_VL, PUBLISHED


@lru_cache(maxsize=16)
def _geometry_of(folder: Path, changed: tuple[int, ...]) -> Geometry:  # noqa: ARG001 - part of the cache's key
    return geometry_of(folder)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def _bounds(folder: Path, document: dict[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    """Return the fewest and most pixels that a processor's `size` names."""
    size = document.get("size")
    edges = size if isinstance(size, dict) else {}
    least = _whole_number(folder, edges, "shortest_edge", default[0])
    return least, _whole_number(folder, edges, "longest_edge", default[1])


def _whole_number(folder: Path, values: dict[str, Any], key: str, default: int) -> int:
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = f"The processor files of {folder} set {key} to {value!r}."
        fix = "Download the checkpoint's processor files again; sizes are whole numbers of pixels."
        raise BlockedError.of("processor_file", message, fix, path=str(folder), got=value)
    return value


def _part(folder: Path, name: str) -> dict[str, Any]:
    part = _read(folder / WHOLE).get(name)
    return part if isinstance(part, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json_reader.loads(regular_files.read_bytes(path))
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}."
        raise BlockedError.of("processor_file", message, "Download the file again.", path=str(path)) from None
    return document if isinstance(document, dict) else {}
