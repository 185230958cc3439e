"""Embeddings of clips and questions: `torchrun ... -m tao_skill_bank.models.cosmos_reason.embed --config F`."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from tao_skill_bank.core import settings
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import (
    data,
    feature_cache,
    feature_file,
    model,
    out_of_memory,
    preload,
    rank_assignment,
)
from tao_skill_bank.models.cosmos_reason.blocks import Execution
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig, rules
from tao_skill_bank.models.cosmos_reason.embedding import (
    encoders,
    identity,
    outcome,
    parts,
    source,
    tower_adapters,
    tower_weights,
)
from tao_skill_bank.models.cosmos_reason.embedding.encoders import Encoder, JointEncoder, PackPrompts, VisionEncoder
from tao_skill_bank.models.cosmos_reason.embedding.parts import Parts
from tao_skill_bank.models.cosmos_reason.embedding.rows import Row, of_records
from tao_skill_bank.models.cosmos_reason.embedding.source import Loaded, Source
from tao_skill_bank.models.cosmos_reason.embedding.work import Work
from tao_skill_bank.models.cosmos_reason.network import Network
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.training import bad_samples, distributed, entrypoint, media_look
from tao_skill_bank.training.bad_samples import Skip, SkipLog
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.out_of_memory import explained
from tao_skill_bank.weights.safetensors_files import fingerprint

COMPILE_FROM = 512  # rows of a rank: compiling takes a minute
FEATURE_READERS = 4


def embed(config: EmbedConfig, run: Run) -> str:
    """Embed every row that an earlier run has not, and write all of them. Returns the closing message."""
    rules.require("embed", config)
    records = data.read_annotations(config.dataset.annotation_path)
    policy = bad_samples.Policy(
        config.embedding.on_bad_sample == "skip", config.embedding.max_bad_share, "embedding.max_bad_share", "records"
    )
    log = SkipLog(policy, len(records), run.results_dir)
    rows, skips = of_records(config, records)
    log.note(skips)
    chosen = config.model
    base = model.find_checkpoint(chosen.base_model_path if chosen.enable_lora else chosen.model_name, run.ranks)
    work = _work(config, run, records, rows, base, log)
    known = parts.saved(work.folder)
    run.ranks.barrier()  # no rank writes a part before all have read
    first = {key: position for position, key in reversed(list(enumerate(work.keys))) if key not in known}
    num_cached = sum(run.ranks.gather(_embed(work, sorted(first.values()))))
    log.agree(run.ranks)
    run.ranks.barrier()
    if not run.ranks.is_main:
        return ""
    run.status.phase("writing the embeddings")
    vectors = parts.read(work.folder, set(work.keys))
    return outcome.write(work, vectors, sum(key in known for key in work.keys), num_cached)


def _work(
    config: EmbedConfig, run: Run, records: Sequence[data.Record], rows: Sequence[Row], base: Path, log: SkipLog
) -> Work:
    """Look at the media and return what is to be done, before weights are loaded.

    Raises:
        BlockedError: media cannot be read and may not be left out, or the checkpoint is quantized.

    """
    if config.embedding.kind == "joint" and scheme.is_quantized(base):
        message = f"Checkpoint {base} is quantized; joint embeddings are computed with whole weights only."
        raise BlockedError.of("checkpoint_quantized", message, "Name the checkpoint that it was made from.")
    shown = data.Presentation(config.vision, config.model.max_length, config.dataset.system_prompt)
    found = data.Records(records, config.dataset.media_dir, Processor.load(base), shown)
    if any(row.media for row in rows):
        media_look.require_readable(found.files(), run.ranks, skips=log.policy.skips)
    run.status.phase("reading the media's content")
    wanted, on_gpu = config.model.dtype, run.ranks.device.type == "cuda"
    space = identity.space_of(config, base, ("bfloat16" if on_gpu else "float32") if wanted == "auto" else wanted)
    contents = identity.contents_of(found, rows, run.ranks)
    keys = [space.key(row, contents, found) for row in rows]
    stood_for = [None if row.file is None else contents[row.file] for row in rows]
    return Work(config, run, found, rows, keys, stood_for, space, base, log)


def _embed(work: Work, wanted: Sequence[int]) -> int:
    """Embed rows, a share on each rank; return how many of this rank's vision rows had cached features."""
    config, run = work.config, work.run
    features = _cached_features(work, wanted)
    is_joint = config.embedding.kind == "joint"
    ready = [] if is_joint else [position for position in wanted if work.rows[position].media[0] in features]
    new = Parts(work.folder)
    try:
        _pool_cached(work, ready[run.ranks.rank :: run.ranks.world], features, new)
        done = set(ready)
        order = _own_batches(work, [position for position in wanted if position not in done])
        if order:
            _encode(work, order, features if is_joint else {}, new)
    finally:
        new.flush()
    own = [position for batch in order for position in batch] if is_joint else []
    shown = [all(item in features for item in work.rows[position].media) for position in own]
    return len(ready[run.ranks.rank :: run.ranks.world]) + sum(shown)


def _encode(work: Work, order: Sequence[rank_assignment.Batch], features: Mapping[Media, Path], new: Parts) -> None:
    config, run = work.config, work.run
    run.status.phase("loading the model")
    advice = out_of_memory.of_embedding(config)
    num_rows = sum(map(len, order))
    with explained(*advice):
        encoder, join = _load(work, num_rows)
    reader = Source(work.records, work.rows, config.model.max_length, features, work.log.policy.skips)
    how = config.embedding
    loaded = source.batches_of(reader, order, join, how.num_processes, how.batch_tokens)
    done = 0
    for batch, vectors in _encoded(work, encoder, loaded):
        new.add([work.keys[position] for position in batch.positions], vectors)
        done += len(batch.positions) + len(batch.failed)
        run.status.progress(done, num_rows, f"{done} of {num_rows} embedded")


def _encoded(work: Work, encoder: Encoder, loaded: Any) -> Iterator[tuple[Loaded, Tensor]]:
    """Yield batches with their vectors on the host, each while the device computes the next one."""
    waiting: tuple[Loaded, Tensor] | None = None
    for batch in loaded:
        work.log.note(_skip(work, each) for each in batch.failed)
        work.log.require_few()
        if batch.content is None:
            continue
        with explained(*out_of_memory.of_embedding(work.config)):
            vectors = encoder.encode(batch.content)
        if waiting is not None:
            yield waiting[0], waiting[1].cpu()
        waiting = batch, vectors
    if waiting is not None:
        yield waiting[0], waiting[1].cpu()


def _load(work: Work, num_rows: int) -> tuple[Encoder, Any]:
    """Return the encoder on this rank's device, and what joins samples to its batches."""
    config, ranks, processor = work.config, work.run.ranks, work.records.processor
    execution = Execution(compile=ranks.device.type == "cuda" and num_rows >= COMPILE_FROM)
    if config.embedding.kind == "vision":
        visual = tower_weights.load(config, work.base, work.dtype, ranks)
        return VisionEncoder(visual, processor.pixel_format, execution, ranks.device), encoders.stack
    chosen = config.model
    base = chosen.base_model_path if chosen.enable_lora else None
    loaded, _ = model.load_merged(chosen.model_name, base=base, dtype=work.dtype, ranks=ranks)
    network = Network(loaded, processor.pixel_format, execution)
    return JointEncoder(network, ranks.device), PackPrompts(processor)


def _own_batches(work: Work, wanted: Sequence[int]) -> list[rank_assignment.Batch]:
    """Return this rank's batches of some rows, by positions."""
    ranks = work.run.ranks
    lengths = source.lengths(work.records, [work.rows[position] for position in wanted], ranks)
    made = source.batches(lengths, work.config.embedding.batch_tokens)
    costs = [sum(lengths[place] for place in batch) for batch in made]
    own = rank_assignment.assign(made, costs, ranks.world)[ranks.rank]
    return [tuple(wanted[place] for place in batch) for batch in own]


def _cached_features(work: Work, wanted: Sequence[int]) -> dict[Media, Path]:
    """Return the cached features of media: those that trainings on the same model wrote, where the tower is its own."""
    chosen = work.config.model
    is_changed = chosen.enable_lora and tower_adapters.is_changed_by(Path(chosen.model_name))
    if is_changed or not settings.features_dir().is_dir():
        return {}
    shared = {"model": fingerprint(work.base), "dtype": work.space.dtype}
    media = {item for position in wanted for item in work.rows[position].media}
    files = {item: feature_cache.file_of(work.records, item, shared) for item in media}
    return {item: file for item, file in files.items() if file.is_file()}


def _pool_cached(work: Work, ready: Sequence[int], features: Mapping[Media, Path], new: Parts) -> None:
    """Pool the cached features of clips: nothing is decoded, and no weights are loaded."""

    def vector(position: int) -> Tensor:
        return encoders.pooled(feature_file.read(features[work.rows[position].media[0]]).values)[None]

    with ThreadPoolExecutor(FEATURE_READERS) as pool:
        for number, (position, found) in enumerate(zip(ready, pool.map(vector, ready), strict=True), start=1):
            new.add([work.keys[position]], found)
            work.run.status.phase("pooling cached features", number, len(ready))


def _skip(work: Work, failed: source.Unreadable) -> Skip:
    problem = failed.problem
    return Skip(work.rows[failed.position].index, problem.code, problem.message, problem.path)


if __name__ == "__main__":
    entrypoint.main(
        EmbedConfig,
        embed,
        lambda config: config.results_dir,
        distributed.UNEVEN_TIMEOUT,
        load_libraries=preload.for_embedding,
    )
