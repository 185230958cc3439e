"""Builds the training and validation batches of a train spec."""

import math
from collections.abc import Iterable, Sequence

from tao_skill_bank.bank import step_limit
from tao_skill_bank.data.records.reader import record_name
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import data, loader
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.config.shared import AnnotatedMedia
from tao_skill_bank.models.cosmos_reason.facts import FACTS
from tao_skill_bank.models.cosmos_reason.memory import Load
from tao_skill_bank.models.cosmos_reason.packing import Packed, Packer
from tao_skill_bank.models.cosmos_reason.processor import IGNORED, Processor, Sample
from tao_skill_bank.models.cosmos_reason.saved_answers import write_json
from tao_skill_bank.models.cosmos_reason.training_setup import length_of
from tao_skill_bank.models.cosmos_reason.vision import CHANNELS
from tao_skill_bank.training import bad_samples, media_look
from tao_skill_bank.training.bad_samples import SUBSTITUTES, SkipLog
from tao_skill_bank.training.entrypoint import Run

SAMPLED_RECORDS = 8  # sampled to estimate lengths


def split(config: TrainConfig) -> tuple[list[data.Record], list[data.Record]]:
    """Return the training records, and those split off for validation."""
    options, validation = config.train.train_policy, config.validation
    records = data.read_annotations(config.custom.train_dataset.annotation_path)
    if validation.enable and not config.custom.val_dataset and options.dataset.test_size:
        return data.split_by_id(records, options.dataset.test_size, config.train.seed)
    return records, []


def datasets(config: TrainConfig, processor: Processor) -> tuple[data.Records, data.Records | None]:
    """Return the training set and, when there is validation, the validation set."""
    options, validation = config.train.train_policy, config.validation
    source = config.custom.train_dataset
    records, held_out = split(config)
    held_out_source: AnnotatedMedia = source
    if validation.enable and config.custom.val_dataset:
        held_out_source = config.custom.val_dataset
        held_out = data.read_annotations(held_out_source.annotation_path)
    shown = _presentation(config, cache=options.enable_dataset_cache)
    train_set = data.Records(records, source.media_path, processor, shown)
    if not held_out:
        return train_set, None
    shown = _presentation(config, cache=validation.enable_dataset_cache)
    return train_set, data.Records(held_out, held_out_source.media_path, processor, shown)


def require_usable(config: TrainConfig, run: Run, train_set: data.Records, val_set: data.Records | None) -> None:
    """Check the sets before a model is loaded: their number of steps, and the headers of all media.

    Raises:
        BlockedError: an epoch has no step, a warm-up is longer than the training, or media cannot be used.

    """
    counts = {
        "num_records": len(train_set),
        "world": run.ranks.world,
        "batch": config.train.train_batch_per_replica,
    }
    loader.require_steps(**counts)
    _require_warm_up_ends(config, loader.steps_per_epoch(**counts))
    media_look.require_readable(train_set.files(), run.ranks, skips=skip_policy(config).skips)
    if val_set:
        media_look.require_readable(val_set.files(), run.ranks)


def _require_warm_up_ends(config: TrainConfig, steps: int) -> None:
    settings = config.train
    if settings.max_steps is None:
        return
    warm_up = ("train.optm_warmup_epochs", settings.optm_warmup_epochs)
    if problem := step_limit.warm_up_problem(FACTS.max_steps, settings.max_steps, warm_up, steps):
        raise BlockedError([problem])


def write_split(config: TrainConfig, run: Run, train_set: data.Records, val_set: data.Records | None) -> None:
    """Write split.json with the ids of both sides if validation records were split off."""
    if run.ranks.is_main and val_set and not config.custom.val_dataset:
        names = {"train": _names(train_set.records), "val": _names(val_set.records)}
        write_json(run.results_dir / "split.json", names)


def _presentation(config: TrainConfig, *, cache: bool) -> data.Presentation:
    return data.Presentation(
        config.custom.vision,
        config.policy.model_max_length,
        config.custom.system_prompt,
        config.train.train_policy.conversation_column_name,
        cache,
    )


def training_batches(
    config: TrainConfig, records: data.Records, run: Run, load: Load, packer: Packer, skips: SkipLog
) -> tuple[loader.TrainingOrder, Iterable[Packed]]:
    """Return the order of micro-batches and the loader that packs them; `load` bounds how many are prefetched."""
    settings, options = config.train, config.train.train_policy
    order = loader.TrainingOrder(
        len(records),
        ranks=(run.ranks.rank, run.ranks.world),
        batch=settings.train_batch_per_replica,
        micro_batch=load.samples,
        seed=settings.seed,
        skips=skips,
    )
    workers = loader.Workers(options.dataloader_num_workers, options.dataloader_prefetch_factor)
    workers = workers.bounded(load.patches * load.samples * _patch_bytes(records))
    workers = workers.worthwhile(
        length_of(settings).scheduled_steps(order.num_steps) * (settings.train_batch_per_replica // load.samples)
    )
    return order, _loader(records, order, workers, packer, skips)


def validation_batches(
    config: TrainConfig, records: data.Records | None, run: Run, load: Load, packer: Packer, *, epochs: int
) -> Iterable[Packed] | None:
    """Return the loader of packed validation batches, for a training of so many epochs; None without records."""
    if records is None:
        return None
    settings = config.validation
    order = loader.ValidationOrder(len(records), ranks=(run.ranks.rank, run.ranks.world), batch=settings.batch_size)
    workers = loader.Workers(settings.dataloader_num_workers, settings.dataloader_prefetch_factor)
    workers = workers.bounded(load.patches * settings.batch_size * _patch_bytes(records))
    workers = workers.worthwhile(len(order) * epochs // settings.freq_in_epoch)
    return _loader(records, order, workers, packer)


def _loader(
    records: data.Records,
    order: Iterable[list[loader.Slot]],
    workers: loader.Workers,
    packer: Packer,
    skips: SkipLog | None = None,
) -> Iterable[Packed]:
    """Read features in threads; decode clips in processes."""
    if records.features:
        return loader.ReadAhead(records, order, workers, packer, skips)
    return loader.Batches(records, order, workers, packer, skips)


def _patch_bytes(records: data.Records) -> int:
    geometry = records.processor.pixel_format.geometry
    return int(CHANNELS * geometry.temporal_patch_size * geometry.patch_size**2)


def load_of(config: TrainConfig, records: data.Records) -> Load:
    """Return the load of a micro-batch of the longest of some sampled records, which are decoded."""
    spread = range(0, len(records), max(1, len(records) // SAMPLED_RECORDS))[:SAMPLED_RECORDS]
    samples = [_near(config, records, index) for index in spread]
    return Load(
        tokens=max(len(sample.input_ids) for sample in samples),
        patches=max(sum(math.prod(grid) for grid in sample.grids) for sample in samples),
        labels=max(int((sample.labels != IGNORED).sum()) for sample in samples),
        samples=config.train.train_policy.mini_batch,
        per_step=config.train.train_batch_per_replica,
    )


def _near(config: TrainConfig, records: data.Records, index: int) -> Sample:
    """Return a record's sample; where the spec skips bad records, that of the next one that can be read."""
    ahead = SUBSTITUTES if skip_policy(config).skips else 0
    nearby = [(index + step) % len(records) for step in range(min(1 + ahead, len(records)))]
    return bad_samples.read(records.__getitem__, nearby)[0]


def skip_policy(config: TrainConfig) -> bad_samples.Policy:
    """Return what the spec says of records that cannot be read."""
    custom = config.custom
    return bad_samples.Policy(custom.on_bad_sample == "skip", custom.max_bad_share, "custom.max_bad_share")


def _names(records: Sequence[data.Record]) -> list[str]:
    return [record_name(record, index) for index, record in enumerate(records)]
