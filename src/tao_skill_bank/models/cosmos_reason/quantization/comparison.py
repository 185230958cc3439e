"""Compares the model before and after on the same held-out records: token loss, accuracy, share of equal answers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.models.cosmos_reason import answers, generate, loader
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.generate import Decoding
from tao_skill_bank.models.cosmos_reason.processor import IGNORED
from tao_skill_bank.models.cosmos_reason.quantization.memory import BATCH
from tao_skill_bank.models.cosmos_reason.quantization.records import Records
from tao_skill_bank.models.cosmos_reason.verdicts import Rule, judge, kind_of

Progress = Callable[[int, str], None]  # records done since the last call, and the message


@dataclass(frozen=True)
class Measured:
    """The results of a model on some records.

    Attributes:
        token_loss: mean of -log p over the answers' tokens.
        accuracy: share of right answers: yes or no where all truths are, else equal after normalisation.
        answers: one per record.

    """

    token_loss: float
    accuracy: float
    answers: tuple[str, ...]


def measure(network: Any, records: Records, max_new_tokens: int, progress: Progress) -> Measured:
    """Run a model over all records, twice each: once for the loss, once to answer. Greedy, so reproducible.

    Raises:
        JobFailedError: the loss is not a number.

    """
    device = network.device
    loss_sum, num_labels = 0.0, 0
    responses: list[str] = []
    for positions in _batches(len(records)):
        batch = loader.collate([records[position] for position in positions], loader.Padding(records.processor))
        loss, count = _token_loss(network, loader.to_device(batch, device, records.processor))
        loss_sum, num_labels = loss_sum + loss, num_labels + count
        responses += answer(network, records, positions, max_new_tokens)
        progress(len(positions), f"{len(responses)} of {len(records)} held-out records measured")
    if not math.isfinite(loss_sum):
        message = f"The token loss of the model is {loss_sum}: its outputs are unusable."
        fix = "Check the checkpoint with evaluate; if it is correct, use quantize.quantization_scheme=W8A16."
        raise JobFailedError.of("loss_not_finite", message, fix, path="model.model_path")
    truths = [records.question(position)[1] for position in range(len(records))]
    return Measured(loss_sum / num_labels, _accuracy(responses, truths), tuple(responses))


def answer(network: Any, records: Records, positions: range, max_new_tokens: int) -> list[str]:
    """Return the model's answers to the questions of some records."""
    samples = [records.prompt(position) for position in positions]
    batch = loader.collate(samples, loader.Padding(records.processor, side="left"))
    return generate.answer(network, batch, records.processor, Decoding(max_new_tokens), network.device)


def report(before: Measured, after: Measured, records: Records) -> dict[str, Any]:
    """Return the entry of results.json for the evaluation."""
    numbers = {name: _numbers(measured) for name, measured in (("before", before), ("after", after))}
    same = [_final(ours) == _final(theirs) for ours, theirs in zip(before.answers, after.answers, strict=True)]
    rows = []
    for position, (old, new) in enumerate(zip(before.answers, after.answers, strict=True)):
        asked, truth = records.question(position)
        record_id = records.conversation(position).record_id
        rows.append({"id": record_id, "question": asked, "before": old, "after": new, "gt": truth})
    return {
        "records": len(records),
        **numbers,
        "delta": {name: numbers["after"][name] - value for name, value in numbers["before"].items()},
        "same_answers": sum(same) / len(same),
        "answers": rows,
    }


@torch.inference_mode()
def _token_loss(network: Any, batch: loader.Batch) -> tuple[float, int]:
    """Return the sum of -log p over labelled tokens and their number, by the forward pass of a server."""
    targets = batch.labels[:, 1:]
    labelled = targets != IGNORED
    positions = labelled.any(dim=0).nonzero().flatten()
    logits = network(**batch.inputs, logits_to_keep=positions, use_cache=False).logits.float()
    chosen = targets[:, positions].flatten()
    loss = F.cross_entropy(logits.flatten(0, 1), chosen, ignore_index=IGNORED, reduction="sum")
    return float(loss), int(labelled.sum())


def _numbers(measured: Measured) -> dict[str, float]:
    return {name: value for name, value in asdict(measured).items() if name != "answers"}


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, BATCH):
        yield range(start, min(start + BATCH, count))


def _final(response: str) -> str:
    return answers.normalize(answers.final(Response(response), "reasoning") or response)


def _accuracy(responses: list[str], truths: list[str]) -> float:
    places = {f"#{position}": truth for position, truth in enumerate(truths)}
    rule = Rule(kind_of(places, "", "reasoning"), "reasoning")
    right = [judge(Response(response), truth, rule).is_right for response, truth in zip(responses, truths, strict=True)]
    return sum(right) / len(right)
