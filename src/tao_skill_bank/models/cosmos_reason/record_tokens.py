"""Predicts the tokens of one record before a launch, without a tokenizer. No torch here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records import reader
from tao_skill_bank.data.records.values import Media, Record, RecordRules
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import processor_files
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import sampling_of, turns_of
from tao_skill_bank.models.cosmos_reason.tokens import (
    QWEN3_VL,
    START_AND_END,
    Geometry,
    frame_size,
    image_tokens,
    timestamp_tokens,
    timestamps,
    video_layout,
)

BYTES_PER_TOKEN = 3.5  # English gives Qwen's tokenizer 4 to 4.5, so this is conservative
TOKENS_PER_TURN = 6  # <|im_start|>, role, line breaks, <|im_end|>
LONE_TOKEN = re.compile(rb"[0-9]")  # Qwen's tokenizer gives every digit a token
PIXELS = "total_pixels"  # what every spec of this skill calls the pixels of a video


def record_tokens(spec: Mapping[str, Any], record: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int:
    """Return the predicted length of a record's sequence: media, text, turns, system prompt and answer.

    Args:
        spec: the nested spec of any action of this skill.
        record: the annotation record; a bare media file has no turns.
        probes: one per medium of the record, in the order in which they are shown.

    Raises:
        BlockedError: the sampling needs frames that a clip does not have.

    """
    embedding = spec.get("embedding") or {}
    if embedding.get("kind") == "vision" or embedding.get("content") == "clip":
        return feature_tokens(spec, record, probes)
    shown = _read(spec, record)
    turns = turns_of(shown, _system_prompt(spec))
    text = text_tokens(_prompt(spec)) + TOKENS_PER_TURN + answer_tokens(spec)
    text += sum(TOKENS_PER_TURN + text_tokens(turn.text) for turn in turns)
    return text if embedding.get("content") == "question" else text + _media_tokens(spec, shown, probes)


def _media_tokens(spec: Mapping[str, Any], shown: Record, probes: Sequence[MediaProbe]) -> int:
    """Return the tokens of a record's media with those around them."""
    vision, geometry, total = vision_of(spec), geometry_of(spec)[0], 0
    for media, probe in zip(shown.media, probes, strict=True):
        if media.kind == "image":
            total += image_tokens(vision, width=probe.width, height=probe.height, geometry=geometry)
        else:
            times, per_group = video_layout_of(vision, media, probe, geometry)
            total += START_AND_END + sum(timestamp_tokens(each) + START_AND_END + per_group for each in times)
    return total


def feature_tokens(spec: Mapping[str, Any], record: Mapping[str, Any], probes: Sequence[MediaProbe]) -> int:
    """Return the vision tokens of a record's media only. Args and errors are those of `record_tokens`."""
    vision, geometry, total = vision_of(spec), geometry_of(spec)[0], 0
    for media, probe in zip(_read(spec, record).media, probes, strict=True):
        if media.kind == "image":
            size = {"width": probe.width, "height": probe.height}
            total += image_tokens(vision, **size, geometry=geometry) - START_AND_END
        else:
            times, per_group = video_layout_of(vision, media, probe, geometry)
            total += len(times) * per_group
    return total


def _read(spec: Mapping[str, Any], record: Mapping[str, Any]) -> Record:
    """Return the record as far as it is understood; what is wrong with it is reported elsewhere."""
    return reader.examine(record, RecordRules(_conversations_key(spec)))[0]


def video_layout_of(
    vision: VideoSampling, media: Media, probe: MediaProbe, geometry: Geometry
) -> tuple[tuple[float, ...], int]:
    """Return the time of every temporal patch of a clip, and the vision tokens of each of them."""
    rate = rate_of(media, probe)
    size = {"width": probe.width, "height": probe.height}
    if media.indices is None:
        return video_layout(
            sampling_of(vision, media),
            geometry=geometry,
            **size,
            duration_seconds=probe.duration_seconds,
            container_fps=rate,
            num_container_frames=probe.num_frames,
            frame_seconds=probe.frame_seconds,
        )
    rows, columns = frame_size(vision, **size, num_frames=len(media.indices), geometry=geometry)
    return timestamps(media.indices, rate, geometry), (rows // geometry.factor) * (columns // geometry.factor)


def rate_of(media: Media, probe: MediaProbe) -> float:
    """Return the frames per second by which a clip is sampled. Raises BlockedError when nothing says it."""
    rate = (not probe.frame_seconds and media.rate) or probe.container_fps
    if not rate:
        message = f"Neither {media.name} nor its record has a frame rate."
        raise BlockedError.of("media_without_rate", message, "Set video_fps in the record.", path=media.name)
    return rate


def basis(spec: Mapping[str, Any]) -> str:
    """Return where the bounds of a frame's size were read, besides the spec's own."""
    return f"frame sizes by {geometry_of(spec)[1]}"


def geometry_of(spec: Mapping[str, Any]) -> tuple[Geometry, str]:
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


def text_tokens(text: str) -> int:
    """Return the predicted tokens of a text."""
    data = text.encode("utf-8", errors="replace")
    num_digits = len(LONE_TOKEN.findall(data))
    return num_digits + round((len(data) - num_digits) / BYTES_PER_TOKEN + 0.5)


def _system_prompt(spec: Mapping[str, Any]) -> str:
    holders = (spec.get("custom") or {}, spec.get("dataset") or {}, spec)
    return next((str(holder["system_prompt"]) for holder in holders if holder.get("system_prompt")), "")


def _prompt(spec: Mapping[str, Any]) -> str:
    return str(spec.get("prompt") or "")


def answer_tokens(spec: Mapping[str, Any]) -> int:
    """Return the tokens of `record_tokens` reserved for the generated answer."""
    generation = spec.get("generation")
    return int(generation["max_tokens"]) if generation else int(spec.get("max_new_tokens") or 0)


def _conversations_key(spec: Mapping[str, Any]) -> str:
    train = spec.get("train")
    return str(train["train_policy"]["conversation_column_name"]) if train else "conversations"
