"""The DEFT loop on two cores: a model that never saw one direction; the loop finds that, mines it and retrains."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Request
from tao_skill_bank.deft import WORKFLOW, page
from tao_skill_bank.deft.inputs import Wanted
from tao_skill_bank.demo._session import DemoSession
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.runs import summaries
from tao_skill_bank.workflows import standing

SKILL, MODEL = "tao-finetune-cosmos-reason", "builtin://tiny-cosmos-reason"
LACKING = "straight"
BELOW, ABOVE = 0.4, 0.85  # recall of the lacking class on the test set, before and after
BEFORE, AFTER = "base on test", "tuned on test"
CPU = {"name": "local", "options": {"device": "cpu"}}
VISION = {"nframes": 8}
EVALUATION: Mapping[str, Any] = {
    "model.dtype": "float32",
    "task.type": "its_directionality",
    "vision": VISION,
    "generation.max_tokens": 8,
    "evaluation.batch_size": 32,
}
TRAINING: Mapping[str, Any] = {
    "policy": {"lora": None, "model_gradient_checkpointing": False},
    "train.train_batch_per_replica": 16,
    "train.param_dtype": "float32",
    "train.optm_lr": 2e-3,
    "train.optm_warmup_epochs": 0.25,
    "train.train_policy": {"mini_batch": 16, "dataloader_num_workers": 0},
    "validation": {"batch_size": 32, "dataloader_num_workers": 0},
    "custom.vision": VISION,
}


@dataclass(frozen=True)
class Size:
    """Clips of each set, all directions together, and epochs of a training."""

    train: int
    pool: int
    kpi: int
    test: int
    epochs: int


FULL, SMOKE = Size(train=600, pool=600, kpi=150, test=600, epochs=5), Size(24, 24, 12, 12, 1)


def run(folder: Path, *, smoke: bool, say: Callable[[str], None], seed: int = 0) -> dict[str, Any]:
    """Run the demo and return its summary; another seed makes other clips, and trains in another order.

    Raises JobFailedError when the direction did not rise as promised.
    """
    size = SMOKE if smoke else FULL
    session = DemoSession.begin(folder, say)
    data = session.make_samples("vlm", train=size.train, val=size.kpi, test=size.test, seed=2 * seed)
    pool = session.make_samples("vlm", "pool", train=size.pool, val=3, test=3, seed=2 * seed + 1)
    for split in ("train", "val"):
        _leave_out(data / split / "annotations.json", data / split / "lacking.json")
    session.note(f"the training set lacks '{LACKING}'")
    model = _base(session, data, size, seed)
    session.run_workflow(WORKFLOW, _inputs(data, pool / "train", model, size, seed), folder=session.folder / "deft")
    found = standing.of(session.folder / "deft")
    report, sentence = page.write(found)
    recall = {step: _recall(session, step) for step in (BEFORE, AFTER) if step in session.runs}
    for step, value in recall.items():
        session.note(f"{step}: {value:.1%} of '{LACKING}' are right")
    summary = session.summarise(smoke=smoke, report=str(report), sentence=sentence, recall=recall, ended=found.summary)
    if not smoke and not (recall[BEFORE] < BELOW and recall.get(AFTER, 0.0) > ABOVE):
        message = f"'{LACKING}' went from {recall[BEFORE]:.1%} to {recall.get(AFTER, recall[BEFORE]):.1%}; below "
        message += f"{BELOW:.0%} and above {ABOVE:.0%} were expected."
        raise JobFailedError.of("recall_below_promise", message, f"Read {report} and report it as a bug.")
    session.note(sentence)
    session.note("every job is COMPLETE; open the report:")
    return summary


def _leave_out(annotations: Path, out: Path) -> None:
    records = json.loads(annotations.read_text(encoding="utf-8"))
    kept = [record for record in records if record["conversations"][-1]["value"] != LACKING]
    out.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _base(session: DemoSession, data: Path, size: Size, seed: int) -> str:
    """Train the model that the loop begins with, on two of three directions; return its checkpoint folder."""
    datasets: dict[str, Any] = {
        role: {"annotation_path": str(data / split / "lacking.json"), "media_path": str(data / split)}
        for role, split in (("train", "train"), ("eval", "val"))
    }
    overrides = {**TRAINING, "policy.model_name_or_path": MODEL, "train.epoch": size.epochs, "train.seed": seed}
    request = Request(SKILL, "train", automl_policy="off", datasets=datasets, overrides=overrides)
    return str(session.run_job("base training", request) / "best")


def _inputs(data: Path, pool: Path, model: str, size: Size, seed: int) -> dict[str, Any]:
    lacking = {"annotation_path": str(data / "train" / "lacking.json"), "media_path": str(data / "train")}
    training = {**TRAINING, "train.epoch": size.epochs, "train.seed": seed}
    embedding = {"model.dtype": "float32", "vision": VISION}
    actions = {"evaluate": EVALUATION, "train": training, "embed": embedding}
    sets = {"kpi": str(data / "val"), "test": str(data / "test"), "train": lacking, "pool": str(pool)}
    options = {"iterations": 2, "same_class": True, "top_k": 3, "target": 0.97, "platform": CPU}
    return Wanted(model, actions, {**sets, **options}).values()


def _recall(session: DemoSession, step: str) -> float:
    """Return the share of the lacking direction that an evaluation answered rightly."""
    row = summaries.read(session.runs[step]).get("per_class", {}).get(LACKING, {})
    return float(row.get("recall") or 0.0)
