"""Checks if a training can resume: `python -m ...cosmos_reason.resumable --config F --checkpoint D`.

Reads the annotations and the headers of weights; the model is built on the meta device. Nothing is written.
"""

import json
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.state_dict import get_model_state_dict

from tao_skill_bank.errors import BlockedError, Problem, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import batches, identity, meta_network
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.config.train import Lora
from tao_skill_bank.models.cosmos_reason.facts import FACTS
from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.training import checkpoint, checkpoint_contents, resumable, resume
from tao_skill_bank.training.checkpoint import TRAINED_ONLY
from tao_skill_bank.training.checkpoint_contents import FILE
from tao_skill_bank.training.resumable import Answer
from tao_skill_bank.weights import model_uri

SPLIT = ("train.seed", "train.train_policy.dataset.test_size")  # determine which records are held out


def check(config: TrainConfig, folder: Path) -> Answer:
    """Return what the trainer would refuse, with fixes. Raises BlockedError when the checkpoint cannot be read."""
    try:
        records, _ = batches.split(config)
    except TaoSkillsError as error:  # preflight reports it with the other findings of the data
        return Answer(not_compared=str(error))
    base = model_uri.local_folder(model_uri.normalise(config.policy.model_name_or_path))
    sizes = config.policy.parallelism
    world = sizes.dp_replicate_size * sizes.dp_shard_size
    unknown = () if base.is_dir() else (identity.BASE,)
    problems = resume.changes(folder, identity.of(config, records, base, world), FACTS, unknown)
    if problems:
        return Answer(tuple(_with_fixes(config, folder, world, problems)))
    missing = [f"The base model {config.policy.model_name_or_path} is not available locally yet."] if unknown else []
    contents = checkpoint_contents.read(folder, FACTS)
    if contents is None:
        missing.append(f"The trainer compares its weights: an earlier version wrote it, without {FILE}.")
        return Answer(not_compared=" ".join(missing))
    network, _, _ = meta_network.skeleton(config)
    weights: dict[str, Any] = get_model_state_dict(network, options=TRAINED_ONLY)
    try:
        checkpoint.require_same_weights(folder, contents.shapes, weights, FACTS)
    except BlockedError as error:
        return Answer(tuple(_with(problem, _fix_for_weights(config, folder), "policy") for problem in error.problems))
    return Answer(not_compared=" ".join(missing))


def _with_fixes(config: TrainConfig, folder: Path, world: int, problems: list[Problem]) -> Iterator[Problem]:
    is_split = bool(config.train.train_policy.dataset.test_size)
    names = {problem.path for problem in problems}
    split_changed = SPLIT[1] in names or (is_split and SPLIT[0] in names)
    for problem in problems:
        if problem.path in (identity.NUM_RECORDS, identity.RECORDS):
            is_reported = problem.path == identity.RECORDS and identity.NUM_RECORDS in names
            if not (split_changed or is_reported):  # else the split changed them
                yield _with(problem, _fix_for_records(config, folder), "custom.train_dataset.annotation_path")
        elif problem.path == identity.BATCH:
            yield _with(problem, _fix_for_batch(problem.expected, world), "train.train_batch_per_replica")
        elif problem.path == identity.BASE:
            fix = "Use the model that it was trained with: --set policy.model_name_or_path=MODEL"
            yield _with(problem, fix, "policy.model_name_or_path")
        else:
            yield problem


def _with(problem: Problem, fix: str, path: str) -> Problem:
    return replace(problem, fix=f"{fix}; or {FACTS.starts_again}", path=path)


def _fix_for_batch(before: int, world: int) -> str:
    if before % world == 0:
        return f"Set train.train_batch_per_replica={before // world} for {world} ranks"
    return f"Use a number of ranks that divides {before}, and set train.train_batch_per_replica={before} / ranks"


def _fix_for_records(config: TrainConfig, folder: Path) -> str:
    """Return the data of the earlier training, or that its file has changed since."""
    now = config.custom.train_dataset
    earlier = _earlier_spec(folder).get("custom", {}).get("train_dataset", {})
    annotations, media = (Path(str(earlier.get(name, ""))) for name in ("annotation_path", "media_path"))
    if earlier and annotations != Path(now.annotation_path):
        if annotations == media / "annotations.json":
            return f"Use the data that it was trained with: --train {media}"
        sets = f"--set custom.train_dataset.annotation_path={annotations} --set custom.train_dataset.media_path={media}"
        return f"Use the data that it was trained with, instead of --train: {sets}"
    moments = [_moment(path) for path in (Path(now.annotation_path), folder / PROGRESS_FILE)]
    when = (
        f", which was changed on {moments[0]} (the checkpoint is from {moments[1]})" if moments[0] > moments[1] else ""
    )
    return f"Restore the records that it was trained with in {now.annotation_path}{when}"


def _fix_for_weights(config: TrainConfig, folder: Path) -> str:
    """Return the settings of the earlier training that determine which weights are trained."""
    earlier = _earlier_spec(folder).get("policy", {})
    now = asdict(config.policy)
    if earlier and not earlier.get("lora"):
        return "Train all weights, as it did: --set policy.lora=null" if now["lora"] else "Use its model"
    before, own = earlier.get("lora", {}), now["lora"] or asdict(Lora())
    values = {f"policy.lora.{name}": value for name, value in before.items() if own.get(name) != value}
    if earlier.get("frozen_parts", []) != now["frozen_parts"]:
        values["policy.frozen_parts"] = earlier.get("frozen_parts", [])
    sets = " ".join(f"--set {shlex.quote(f'{path}={json.dumps(value)}')}" for path, value in values.items())
    return f"Set it back: {sets}" if sets else "Use the model that it was trained with"


def _earlier_spec(folder: Path) -> dict[str, Any]:
    """Return the config of a checkpoint's trainer, if it is still in its run directory."""
    try:
        return tomllib.loads((folder.absolute().parent.parent / "config" / "train.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _moment(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(" ", "seconds")


if __name__ == "__main__":
    resumable.main(TrainConfig, check, FACTS)
