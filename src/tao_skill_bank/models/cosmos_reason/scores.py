"""The metrics by which a search may compare trainings of this skill. No torch here."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tao_skill_bank.contracts import Input
from tao_skill_bank.data.annotations import stream_records
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import answers, conversation, turns
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.config.evaluate import Evaluation

TRAINING = (
    *("val/avg_loss", "train/loss_avg", "train/loss_max", "optimizer/lr", "optimizer/grad_norm"),
    *("train/iteration_time", "train/tokens_per_second", "train/samples_per_second", "train/mfu"),
    "train/peak_memory_gib",
)
COUNTS = ("unparseable", "cut", "hit_max_tokens")
CLASSES = ("accuracy", "balanced_accuracy", "macro_f1")
TEXTS = ("accuracy", "exact_match", "token_f1", "sentence_bleu", "bleu", "rouge1", "rouge2", "rougeL")
# By what the truths of the held-out records are, with the evaluation's own defaults: a search sets nothing else.
EVALUATION: Mapping[str, tuple[str, ...]] = {
    "yes/no answers": (*CLASSES, "precision", "recall", "f1", "TP", "FN", "TN", "FP", *COUNTS),
    "free text": (*TEXTS, *COUNTS),
}
UNWORDED = frozenset({"TP", "FN", "TN", "FP", *COUNTS})  # not what somebody means who says the word


def of_evaluation(action: str, held_out: Input | None) -> Mapping[str, tuple[str, ...]]:
    """Return the metrics of the action that scores a checkpoint, by the truths of the data where they can be read."""
    if action != "evaluate":
        return {}
    kind = _kind(held_out) if held_out is not None else None
    return {kind: EVALUATION[kind]} if kind else EVALUATION


def _kind(held_out: Input) -> str | None:
    path = Path(held_out.paths["annotation_path"])
    if not path.is_file():
        return None
    found = False
    try:
        for truth in _truths(path):
            found = True
            if not answers.is_yes_no(answers.final(Response(truth), _answer_type()) or ""):
                return "free text"
    except BlockedError:
        return None  # preflight reports the file
    return "yes/no answers" if found else None


def _truths(path: Path) -> Iterator[str]:
    for index, record in enumerate(stream_records(path)):
        try:
            yield turns.asked(conversation.parse(record, index), every=False)[0].truth
        except BlockedError:
            continue  # preflight reports the record


def _answer_type() -> answers.AnswerType:
    chosen: answers.AnswerType = Evaluation().answer_type
    return chosen
