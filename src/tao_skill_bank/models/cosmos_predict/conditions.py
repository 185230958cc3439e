"""Conditioning of a generated video: an image, the end of a clip, or nothing."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from tao_skill_bank.core import subset
from tao_skill_bank.data.media import picture
from tao_skill_bank.data.prompt_pairs import Prompt, is_safe_name, read
from tao_skill_bank.errors import BlockedError, Problem, RequestError, TaoSkillsError
from tao_skill_bank.models.cosmos_predict import clips
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.models.cosmos_predict.geometry import ClipShape, conditioning_frames


def read_prompts(config: GenerateConfig) -> tuple[tuple[Prompt, ...], int]:
    """Return the prompts to generate for, each with a readable image or a long enough clip, and how many there are.

    Raises:
        BlockedError: all problems of the inputs, before a GPU is used.

    """
    if config.inputs is None:
        prompts: tuple[Prompt, ...] = (_single(config),)
        available = 1
    else:
        found = read(Path(config.inputs).absolute())
        if found.problems:
            raise BlockedError(found.problems)
        prompts, available = found.prompts, len(found.prompts)
        if config.limit is not None:
            prompts = tuple(prompts[index] for index in subset.chosen([each.name for each in prompts], config.limit))
    if problems := _problems(prompts, config):
        raise BlockedError(problems)
    return prompts, available


def load(prompt: Prompt, size: tuple[int, int], latent_frames: int) -> Tensor | None:
    """Return the first frames of a video as pixels (3, frames, height, width) in [-1, 1]; None for a prompt alone.

    Args:
        prompt: with an image, which gives one frame, or a clip, of which the last frames are used.
        size: (height, width); frames are stretched to it as training clips are.
        latent_frames: number of latent frames taken from a clip.

    Raises:
        BlockedError: the file cannot be read, or the clip is too short.

    """
    if prompt.image is not None:
        return _load_image(prompt.image, size)
    if prompt.video is None:
        return None
    needed = conditioning_frames(latent_frames)
    available = clips.frame_count(prompt.video)
    if available < needed:
        message = f"{prompt.video} has {available} frames; {latent_frames} latent frames need its last {needed}."
        fix = "Set num_conditional_latent_frames=1, or give a longer clip."
        raise BlockedError.of("clip_too_short", message, fix, path=str(prompt.video))
    return clips.load_window(prompt.video, available - needed, needed, size)


def latent_frames_of(prompt: Prompt, config: GenerateConfig) -> int:
    """Return the number of conditioning latent frames of a video."""
    if prompt.image is not None:
        return 1
    return config.num_conditional_latent_frames if prompt.video is not None else 0


def _single(config: GenerateConfig) -> Prompt:
    media = config.image or config.video
    name = Path(media).stem if media else "prompt"
    return Prompt(
        name=name if is_safe_name(name) else "prompt",
        prompt=config.prompt or "",
        image=Path(config.image).absolute() if config.image else None,
        video=Path(config.video).absolute() if config.video else None,
    )


def _problems(prompts: Sequence[Prompt], config: GenerateConfig) -> list[Problem]:
    shape = ClipShape(config.num_frames, config.height, config.width)
    found: list[Problem] = []
    for prompt in prompts:
        try:
            load(prompt, (config.height, config.width), config.num_conditional_latent_frames)
        except TaoSkillsError as error:
            found += error.problems
    given = max(latent_frames_of(prompt, config) for prompt in prompts)
    if given >= shape.latent_frames:
        message = (
            f"num_frames {config.num_frames} gives {shape.latent_frames} latent frames, but {given} are conditioned."
        )
        fix = f"Set num_frames to {conditioning_frames(given + 1)} or more."
        found += RequestError.of("nothing_to_predict", message, fix, path="num_frames").problems
    return found


def _load_image(path: Path, size: tuple[int, int]) -> Tensor:
    frame = torch.from_numpy(picture.read(path)).permute(2, 0, 1)[None]
    if frame.shape[2:] != size:
        frame = F.interpolate(frame, size=size, mode="bilinear", antialias=True, align_corners=False)
    return frame.permute(1, 0, 2, 3).float().div(127.5).sub(1)
