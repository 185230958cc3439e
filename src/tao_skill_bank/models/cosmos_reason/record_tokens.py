"""Predicts the tokens of one record before a launch, without a tokenizer. No torch here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.data.annotations import media_of, turns_of
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.models.cosmos_reason import processor_files
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.tokens import (
    QWEN3_VL,
    START_AND_END,
    Geometry,
    image_tokens,
    video_layout,
    video_tokens,
)

BYTES_PER_TOKEN = 3.5  # English gives Qwen's tokenizer 4 to 4.5, so this is conservative
TOKENS_PER_TURN = 6  # <|im_start|>, role, line breaks, <|im_end|>
LONE_TOKEN = re.compile(rb"[0-9]")  # Qwen's tokenizer gives every digit a token
MARKER = re.compile(r"<(video|image)>")
PIXELS = "total_pixels"  # what every spec of this skill calls the pixels of a video


def record_tokens(spec: Mapping[str, Any], record: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int:
    """Return the predicted length of a record's sequence: media, text, turns, system prompt and answer.

    Args:
        spec: the nested spec of any action of this skill.
        record: the annotation record; a bare media file has no turns.
        probes: one per media of the record, in the order of `media_of`.

    Raises:
        BlockedError: the sampling needs frames that a clip does not have.

    """
    vision, geometry = vision_of(spec), _geometry(spec)[0]
    total = _text_tokens(_system_prompt(spec)) + TOKENS_PER_TURN + answer_tokens(spec)
    for media, probe in zip(media_of(record), probes, strict=True):
        if media.kind == "image":
            total += image_tokens(vision, width=probe.width, height=probe.height, geometry=geometry)
        else:
            total += video_tokens(vision, geometry=geometry, **_clip(record, probe))
    turns = turns_of(record, _conversations_key(spec))
    return total + sum(TOKENS_PER_TURN + _text_tokens(MARKER.sub("", turn.text)) for turn in turns)


def feature_tokens(spec: Mapping[str, Any], record: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int:
    """Return the vision tokens of a record's media only. Args and errors are those of `record_tokens`."""
    vision, geometry, total = vision_of(spec), _geometry(spec)[0], 0
    for media, probe in zip(media_of(record), probes, strict=True):
        if media.kind == "image":
            size = {"width": probe.width, "height": probe.height}
            total += image_tokens(vision, **size, geometry=geometry) - START_AND_END
        else:
            groups, per_group = video_layout(vision, geometry=geometry, **_clip(record, probe))
            total += len(groups) * per_group
    return total


def _clip(record: Mapping[str, Any], probe: MediaProbe) -> dict[str, Any]:
    return {
        "width": probe.width,
        "height": probe.height,
        "duration_seconds": probe.duration_seconds,
        "container_fps": (not probe.frame_seconds and record.get("video_fps")) or probe.container_fps,
        "num_container_frames": probe.num_frames,
        "frame_seconds": probe.frame_seconds,
    }


def basis(spec: Mapping[str, Any]) -> str:
    """Return where the bounds of a frame's size were read, besides the spec's own."""
    return f"frame sizes by {_geometry(spec)[1]}"


def _geometry(spec: Mapping[str, Any]) -> tuple[Geometry, str]:
    """Return the geometry of the checkpoint whose processor a spec uses (an adapter's is that of its base)."""
    model = spec.get("policy") or spec.get("model") or spec
    keys = ("base_model_path",) if model.get("enable_lora") else ("model_name_or_path", "model_name", "model_path")
    named = next((str(model[key]) for key in keys if model.get(key)), None)
    return processor_files.geometry_of_model(named) if named else (QWEN3_VL, processor_files.PUBLISHED)


def vision_of(spec: Mapping[str, Any]) -> VideoSampling:
    """Return the frame sampling of a spec: under custom in train, at the top level in inference."""
    values = spec.get("custom", spec).get("vision")
    if values is None:
        fps, num_frames = spec.get("fps"), spec.get("num_frames")
        total = {"total_pixels": spec["total_pixels"]} if "total_pixels" in spec else {}
        return VideoSampling(fps=fps, nframes=num_frames, **total)
    return VideoSampling(**values)


def _text_tokens(text: str) -> int:
    data = text.encode("utf-8", errors="replace")
    num_digits = len(LONE_TOKEN.findall(data))
    return num_digits + round((len(data) - num_digits) / BYTES_PER_TOKEN + 0.5)


def _system_prompt(spec: Mapping[str, Any]) -> str:
    holders = (spec.get("custom") or {}, spec.get("dataset") or {}, spec)
    system_prompt = next((holder["system_prompt"] for holder in holders if holder.get("system_prompt")), "")
    return f"{system_prompt}{spec.get('prompt') or ''}"


def answer_tokens(spec: Mapping[str, Any]) -> int:
    """Return the tokens of `record_tokens` reserved for the generated answer."""
    generation = spec.get("generation")
    return int(generation["max_tokens"]) if generation else int(spec.get("max_new_tokens") or 0)


def _conversations_key(spec: Mapping[str, Any]) -> str:
    train = spec.get("train")
    return str(train["train_policy"]["conversation_column_name"]) if train else "conversations"
