"""The generation plan: all videos of a run, with variant, prompt, seed and output, and which of them are finished."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.prompt_pairs import Prompt
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.runs.run_directory import read_json_file, verbatim_json, write_whole
from tao_skill_bank.weights import adapter_files
from tao_skill_bank.weights.safetensors_files import fingerprint

BASE = "base"
MADE_FROM = ("transformer", "vae", "text_encoder")
SETTINGS = (
    "negative_prompt", "num_frames", "num_steps", "guidance_scale", "conditional_frame_timestep",
    "num_conditional_latent_frames", "height", "width", "fps", "mixed_precision", "safety_checker",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """What videos are generated with: the base alone, one adapter, or several together."""

    name: str
    adapters: tuple[str, ...] = ()
    fused: bool = False


@dataclass(frozen=True)
class Video:
    """One video to generate."""

    variant: Variant
    prompt: Prompt
    seed: int

    @property
    def output(self) -> str:
        """The mp4's path below the run directory."""
        return f"videos/{self.variant.name}/{self.prompt.name}_seed{self.seed}.mp4"


def variants(config: GenerateConfig) -> list[Variant]:
    """Return the variants in their order; the base first, because fused weights cannot be separated again."""
    names = tuple(adapter.name for adapter in config.adapters)
    found = [Variant(BASE)] if config.include_base else []
    if config.adapter_mode == "swap":
        return [*found, *(Variant(name, (name,)) for name in names)]
    return [*found, Variant(config.adapter_mode, names, config.adapter_mode == "fuse")] if names else found


def videos(config: GenerateConfig, prompts: Sequence[Prompt]) -> list[Video]:
    """Return every video, by variant, prompt and seed."""
    seeds = list(dict.fromkeys(config.seeds))
    return [Video(variant, prompt, seed) for variant in variants(config) for prompt in prompts for seed in seeds]


def batches(every: Sequence[Video], size: int) -> list[list[Video]]:
    """Return batches of one variant each, formed before they are assigned to ranks: videos do not depend on ranks."""
    found: list[list[Video]] = []
    for video in every:
        if found and len(found[-1]) < size and found[-1][0].variant == video.variant:
            found[-1].append(video)
        else:
            found.append([video])
    return found


class Records:
    """Record files next to the videos with their settings; a video is reused when its record matches."""

    def __init__(self, root: Path, config: GenerateConfig, pipeline: Path) -> None:
        self.root = root
        shared = {name: value for name, value in asdict(config).items() if name in SETTINGS}
        shared["pipeline"] = {part: fingerprint(pipeline / part) for part in MADE_FROM}
        self._shared = shared
        self._adapters = {
            adapter.name: [_digest(adapter_files.read(Path(adapter.path)).weights), adapter.weight]
            for adapter in config.adapters
        }
        self._media: dict[Path, str] = {}

    def settings(self, video: Video) -> str:
        """Return a hash of all inputs of the video."""
        prompt = video.prompt
        media = {path: self._media_digest(path) for path in (prompt.image, prompt.video) if path is not None}
        made_from = self._shared | {
            "adapters": [self._adapters[name] for name in video.variant.adapters],
            "fused": video.variant.fused,
            "prompt": prompt.prompt,
            "media": [bool(prompt.image), *media.values()],
            "seed": video.seed,
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def finished(self, video: Video) -> dict[str, Any] | None:
        """Return the record of a finished video of the same settings."""
        record = read_json_file(self._file(video))
        if not isinstance(record, dict) or record.get("settings") != self.settings(video):
            return None
        return record if record.get("withheld") or (self.root / video.output).is_file() else None

    def forget(self, video: Video) -> None:
        """Drop the record, before the video is replaced."""
        self._file(video).unlink(missing_ok=True)

    def finish(self, video: Video, *, withheld: bool = False) -> None:
        """Record that the video is complete, or was withheld by the safety checker."""
        self._file(video).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file(video), verbatim_json({"settings": self.settings(video), "withheld": withheld}))

    def _file(self, video: Video) -> Path:
        return (self.root / video.output).with_suffix(".json")

    def _media_digest(self, path: Path) -> str:
        if path not in self._media:
            self._media[path] = _digest(path)
        return self._media[path]


def entry(video: Video, config: GenerateConfig) -> dict[str, Any]:
    """Return the results.json entry of a video."""
    prompt = video.prompt
    return {
        "name": prompt.name,
        "variant": video.variant.name,
        "seed": video.seed,
        "prompt": prompt.prompt,
        "image": str(prompt.image) if prompt.image else None,
        "video": str(prompt.video) if prompt.video else None,
        "output": video.output,
        "frames": config.num_frames,
        "fps": config.fps,
        "width": config.width,
        "height": config.height,
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
