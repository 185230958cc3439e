"""A disk cache of a frozen vision tower's features: every clip is encoded once, regardless of the number of epochs.

Files are keyed by everything that determines their values: the clip's content, the frame sampling, the tower's weights
and the dtype. So they cannot become stale, and runs on the same data and model share them.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tao_skill_bank.core import settings
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError, MissingExtraError, Problem, RequestError
from tao_skill_bank.models.cosmos_reason import feature_file, loader, prepare
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.conversation import sampling_of
from tao_skill_bank.models.cosmos_reason.data import Records
from tao_skill_bank.models.cosmos_reason.media import Features
from tao_skill_bank.models.cosmos_reason.network import Network, parts
from tao_skill_bank.models.cosmos_reason.positions import Grid
from tao_skill_bank.models.cosmos_reason.training_setup import FREE_BYTES, wants_feature_cache
from tao_skill_bank.models.cosmos_reason.vision import patchify
from tao_skill_bank.training import bad_samples, distributed
from tao_skill_bank.training.content_hash import content_hash
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.weights.safetensors_files import fingerprint

logger = logging.getLogger(__name__)
QUEUED_WRITES = 4  # clips whose features are queued in memory


@dataclass(frozen=True)
class Clip:
    """One media file to encode, decoded by a loader process."""

    index: int
    patches: Tensor
    grid: Grid
    timestamps: tuple[float, ...]

    def pin_memory(self) -> "Clip":
        return Clip(self.index, self.patches.pin_memory(), self.grid, self.timestamps)


@dataclass(frozen=True)
class Unreadable:
    """One media file that cannot be decoded, which the spec allows to skip."""

    index: int
    problem: Problem


class Clips:
    """Decodes media by their index in a list of (records that hold it, the medium).

    Media of `lenient`, the records that may be skipped, are returned as unreadable instead of raising.
    """

    def __init__(self, media: Sequence[tuple[Records, Media]], lenient: Records | None = None) -> None:
        self.media, self.lenient = media, lenient

    def __getitem__(self, index: int) -> Clip | Unreadable:
        try:
            return bad_samples.read(self._clip, (index,))[0]
        except BlockedError as error:
            if self.media[index][0] is not self.lenient or isinstance(error, MissingExtraError):
                raise
            return Unreadable(index, error.problems[0])

    def _clip(self, index: int) -> Clip:
        records, item = self.media[index]
        frames = records.decode(item)
        geometry = records.processor.pixel_format.geometry
        return Clip(index, patchify(frames.pixels, geometry), frames.grid(geometry), frames.timestamps)


def fill(config: TrainConfig, trainable: Any, sets: Sequence[Records], run: Run, base: Path) -> bool:
    """Encode media that are not cached and let `sets` read features instead of clips. Every rank calls this.

    Returns:
        Whether features are used: the spec allows it, the tower is frozen, and the disk has enough space.

    Raises:
        RequestError: the spec enables the cache, but the vision tower is trained.
        BlockedError: the spec enables the cache, but the disk is too small.

    """
    wanted = config.train.train_policy.vision_feature_cache
    media = _media(sets)
    steps = loader.steps_per_epoch(len(sets[0]), world=run.ranks.world, batch=config.train.train_batch_per_replica)
    if not media or not wants_feature_cache(config, steps):
        return False
    identity = fingerprint(base)
    if prepare.frozen_tower(trainable) is None or identity is None:
        if wanted == "on":
            message = "Features of the vision tower cannot be cached: it is trained, so they change with every step."
            fix = "Set train.train_policy.vision_feature_cache=off, or freeze the tower (vision and projector)."
            raise RequestError.of("trained_tower", message, fix, path="train.train_policy.vision_feature_cache")
        return False
    shared = {"model": identity, "dtype": config.train.param_dtype}
    run.status.phase("looking for cached features")
    hashed = range(run.ranks.rank, len(media), run.ranks.world)
    files: dict[int, Path] = {}
    for found in run.ranks.gather({index: file_of(*media[index], shared) for index in hashed}):
        files |= found
    missing = [index for index in range(len(media)) if not files[index].is_file()]
    network = Network(trainable, sets[0].processor.pixel_format, Execution(compile=run.ranks.device.type == "cuda"))
    lenient = sets[0] if config.custom.on_bad_sample == "skip" else None
    if not _has_room(network, Clips([media[index] for index in missing], lenient), run, must=wanted == "on"):
        return False
    run.ranks.barrier()  # no rank writes before all ranks have checked
    own = missing[distributed.local_rank() :: settings.processes_on_this_machine()]  # machines may not share a disk
    failed: dict[int, Problem] = {}
    if own:  # else loader processes would start needlessly
        failed = _encode(config, network, Clips(media, lenient), {index: files[index] for index in own}, run)
    failed = {index: problem for found in run.ranks.gather(failed) for index, problem in found.items()}
    logger.info("vision features of %d media on disk, %d of them encoded now", len(media) - len(failed), len(missing))
    sets[0].unreadable = {media[index][1]: problem for index, problem in failed.items()}
    for records in sets:
        records.features = {
            item: files[index]
            for index, (holder, item) in enumerate(media)
            if holder is records and index not in failed
        }
    return True


def _media(sets: Sequence[Records]) -> list[tuple[Records, Media]]:
    """Return the unique media per set, in the order of the records."""
    found: dict[tuple[int, Media], tuple[Records, Media]] = {}
    for position, records in enumerate(sets):
        for index in range(len(records)):
            shown = records.conversation(index)
            for item in shown.media:
                found.setdefault((position, item), (records, item))
    return list(found.values())


def file_of(records: Records, item: Media, shared: Mapping[str, Any]) -> Path:
    """Return the file of a medium's features; `shared` is the fingerprint of the model and the dtype of the tower."""
    files = [records.folder / name for name in item.files]
    content = [content_hash(file) if file.is_file() else None for file in files]  # decoding reports missing files
    identity = {
        **shared,
        "vision": asdict(sampling_of(records.presentation.vision, item)),
        "content": content if item.frames else content[0],
        "kind": item.kind,
        "video_fps": item.rate,
        **({"indices": item.indices} if item.indices else {}),
        "geometry": asdict(records.processor.pixel_format.geometry),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return settings.features_dir() / key[:2] / f"{key}.safetensors"


def _has_room(network: Network, clips: Clips, run: Run, *, must: bool) -> bool:
    """Return, equally on all ranks, whether the features fit on the disk, estimated from the first readable file."""
    media = clips.media
    first = next((clip for index in range(len(media)) if isinstance(clip := clips[index], Clip)), None)
    needed = _feature_bytes(network, first) * len(media) if first else 0
    folder = settings.state_dir() / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    lacks = run.ranks.max([float(needed + FREE_BYTES > free)])[0] > 0
    if lacks:
        gib = 2**30
        estimate = (
            f"vision features of {len(media)} media take about {needed / gib:.1f} GiB; {free / gib:.1f} GiB are free"
        )
        if must:
            fix = f"Free space in {folder} (or set TAO_STATE_DIR to a larger disk), or set vision_feature_cache=off."
            raise BlockedError.of("no_room_for_features", f"The {estimate}.", fix)
        logger.info("no feature cache: %s", estimate)
    return not lacks


def _feature_bytes(network: Network, clip: Clip) -> int:
    vision = network.tower.visual.config
    tokens = clip.patches.shape[0] // vision.spatial_merge_size**2
    return int(tokens * network.tower.levels * vision.out_hidden_size * parts(network.model).dtype.itemsize)


@torch.no_grad()
def _encode(
    config: TrainConfig, network: Network, source: Clips, files: dict[int, Path], run: Run
) -> dict[int, Problem]:
    """Encode media into files; return those that cannot be decoded and may be skipped, with the reason."""
    options = config.train.train_policy
    workers = loader.Workers(options.dataloader_num_workers, options.dataloader_prefetch_factor).worthwhile(len(files))
    order = [[loader.Slot(index)] for index in files]
    clips: loader.Batches[Clip | Unreadable] = loader.Batches(source, order, workers, _only)
    failed: dict[int, Problem] = {}
    writes: list[Future[None]] = []
    with ThreadPoolExecutor(2) as writers:
        for number, clip in enumerate(clips, start=1):
            if isinstance(clip, Unreadable):
                failed[clip.index] = clip.problem
                continue
            values = network.encode(clip.patches.to(run.ranks.device, non_blocking=True), (clip.grid,)).cpu()
            writes.append(
                writers.submit(feature_file.write, files[clip.index], Features(values, clip.grid, clip.timestamps))
            )
            if len(writes) > QUEUED_WRITES:
                writes.pop(0).result()
            run.status.phase("encoding media for the feature cache", number, len(files))
        for write in writes:
            write.result()
    return failed


def _only(clips: Sequence[Clip | Unreadable], counted: Sequence[bool] = ()) -> Clip | Unreadable:  # noqa: ARG001 - the signature of collate functions
    return clips[0]
