"""One page that shows first frame, prompt and videos side by side; it opens from disk, next to its videos."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from tao_skill_bank.core import subset
from tao_skill_bank.data.media import clip_frames, picture
from tao_skill_bank.data.media.clip_index import whole_clip_index
from tao_skill_bank.runs.run_directory import write_whole

THUMBNAIL_HEIGHT_PIXELS = 216
JPEG_QUALITY = 85
SMALL_PIXELS = 256  # narrower videos are enlarged without smoothing
Entry = Mapping[str, Any]


@dataclass
class Row:
    """One input: its videos by variant, in the order of seeds."""

    name: str
    prompt: str
    given: str
    thumbnail: str | None
    videos: dict[str, list[Entry]] = field(default_factory=dict)


def write(results_dir: Path, entries: Sequence[Entry], generation: Mapping[str, Any]) -> Path:
    """Write gallery.html of a run's results.json and generation.json, and return its path."""
    rows: dict[str, Row] = {}
    variants = list(dict.fromkeys(entry["variant"] for entry in entries))
    for entry in entries:
        if entry["name"] not in rows:
            given = "first frame" if entry["image"] else "clip to continue" if entry["video"] else "prompt only"
            rows[entry["name"]] = Row(entry["name"], entry["prompt"], given, _thumbnail(entry))
        rows[entry["name"]].videos.setdefault(entry["variant"], []).append(entry)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("gallery.html.jinja").render(
        rows=list(rows.values()),
        variants=variants,
        captions={name: _caption(name, generation) for name in variants},
        generation=generation,
        num_videos=len(entries),
        subset=_subset(generation.get("inputs") or {}),
        clip=entries[0] if entries else None,
        is_small=bool(entries) and entries[0]["width"] < SMALL_PIXELS,
    )
    path = results_dir / "gallery.html"
    write_whole(path, page)
    return path


def _subset(inputs: Mapping[str, int]) -> str:
    """Return how many of how many inputs were taken; empty for all of them."""
    taken, available = inputs.get("taken", 0), inputs.get("available", 0)
    return "" if taken == available else subset.text(taken, available, "inputs")


def _caption(variant: str, generation: Mapping[str, Any]) -> str:
    """Return the description of a variant: the base, or its adapters and their weights."""
    if variant == "base":
        return "no adapter"
    adapters = generation["adapters"]
    if generation["mode"] == "swap":
        adapters = [adapter for adapter in adapters if adapter["name"] == variant]
        return f"weight {adapters[0]['weight']:g}"
    return " + ".join(f"{adapter['weight']:g} x {adapter['name']}" for adapter in adapters)


def _thumbnail(entry: Entry) -> str | None:
    """Return the frame that the video starts from as a data URI; None for a prompt alone."""
    if entry["image"]:
        return _data_uri(picture.read(Path(entry["image"])))
    if entry["video"]:
        clip = Path(entry["video"])
        last = len(whole_clip_index(clip)) - 1
        return _data_uri(clip_frames.read(clip, [last], seek=True)[last])
    return None


def _data_uri(pixels: Any) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = THUMBNAIL_HEIGHT_PIXELS / image.height
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    small = image.resize((max(1, round(image.width * scale)), THUMBNAIL_HEIGHT_PIXELS), method)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
