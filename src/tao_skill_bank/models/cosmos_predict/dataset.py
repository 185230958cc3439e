"""The clips of a training as items: found, sized, and split into training and held-out clips."""

from pathlib import Path

from tao_skill_bank.data import clip_folders
from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.models.cosmos_predict import clips
from tao_skill_bank.models.cosmos_predict.batches import Item
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.config.train import Dataset
from tao_skill_bank.training.held_out import held_out_names


def find_items(config: TrainConfig) -> tuple[list[Item], list[Item]]:
    """Return the training and the validation items of a spec; no validation items if validation is disabled.

    Raises:
        BlockedError: a folder has no clips, or clips without captions, unreadable or shorter than the window; those of
            both folders are listed.

    """
    dataset = config.dataset
    val_dir = dataset.val_dir if config.validation.enable else None
    every, problems = _items(dataset, dataset.train_dir)
    held_out, more = _items(dataset, val_dir) if val_dir else ([], [])
    if problems or more:
        raise BlockedError([*problems, *more])
    if val_dir or not config.validation.enable:
        return every, held_out
    names = held_out_names(
        [item.name for item in every], dataset.test_size, config.train.seed, spec_path="dataset.test_size"
    )
    return [item for item in every if item.name not in names], [item for item in every if item.name in names]


def _items(dataset: Dataset, folder: str) -> tuple[list[Item], list[Problem]]:
    """Return the clips of a folder and their problems."""
    found = clip_folders.read(Path(folder))
    problems = list(found.problems)
    items: list[Item] = []
    for index, clip in enumerate(found.captioned):
        try:
            num_frames, (height, width) = clips.frame_count(clip.video), clips.frame_size(clip.video)
        except BlockedError as error:
            problems += error.problems
            continue
        if num_frames < dataset.num_frames:
            message = f"{clip.video} has {num_frames} frames, fewer than the window of {dataset.num_frames}."
            problems.append(
                Problem("clip_too_short", message, "Drop the clip, or lower dataset.num_frames.", str(clip.video))
            )
        size = (dataset.height, dataset.width)
        if dataset.aspect_buckets:
            size = clips.bucket_for(width, height, dataset.height * dataset.width)
        caption = dataset.caption_prefix + (clip.caption or "")
        items.append(Item(index, clip.name, clip.video, caption, num_frames, size))
    return items, problems
