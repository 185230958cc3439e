"""The numbers of a run: clips, records, agreement, tokens and cost, in the forms that reports read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from tao_skill_bank.models.label_videos.answers import Answered
from tao_skill_bank.models.label_videos.config.label import Endpoint
from tao_skill_bank.models.label_videos.label_store import Tokens

MILLION = 1e6
UNITS = {
    "labelled_clips": "clips",
    "failed_clips": "clips",
    "waiting_clips": "clips",
    "records": "records",
    "dropped_records": "records",
    "requests": "requests",
    "input_tokens": "tokens",
    "output_tokens": "tokens",
    "cost": "in the currency of the prices",
}


@dataclass
class Outcome:
    """What a run has of its clips.

    Attributes:
        num_clips, num_chosen: of the pool, and of the pilot where there is one.
        answers: of all labelled clips; `kept` are those that became records.

    """

    num_clips: int
    num_chosen: int
    num_labelled: int
    num_failed: int
    spent: Tokens
    answers: Sequence[Answered] = ()
    kept: Sequence[Answered] = field(default_factory=list)


def cost(spent: Tokens, endpoint: Endpoint) -> float | None:
    """Return what tokens cost; None where a price is not set."""
    prices = (endpoint.price_per_million_input_tokens, endpoint.price_per_million_output_tokens)
    if prices[0] is None or prices[1] is None:
        return None
    return (spent.prompt * prices[0] + spent.completion * prices[1]) / MILLION


def summary(outcome: Outcome, endpoint: Endpoint, findings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return metrics_summary.json."""
    agreements = [each.agreement for each in outcome.answers if each.agreement is not None]
    price = cost(outcome.spent, endpoint)
    metrics = {
        "agreement": fmean(agreements) if agreements else None,
        "labelled_clips": outcome.num_labelled,
        "failed_clips": outcome.num_failed,
        "waiting_clips": outcome.num_clips - outcome.num_labelled - outcome.num_failed,
        "records": len(outcome.kept),
        "dropped_records": len(outcome.answers) - len(outcome.kept),
        "requests": outcome.spent.requests,
        "input_tokens": outcome.spent.prompt,
        "output_tokens": outcome.spent.completion,
        "cost": price,
    }
    reasons = {"agreement": "there was no second pass", "cost": "the prices of tokens are not set"}
    return {
        "kind": "numbers",
        "task": "labels",
        "num_samples": outcome.num_labelled,
        "num_records": outcome.num_clips,
        "metrics": metrics,
        "units": UNITS,
        "not_computed": {name: why for name, why in reasons.items() if metrics[name] is None},
        "findings": list(findings),
    }


def results(outcome: Outcome) -> dict[str, Any]:
    """Return results.json: records and agreement of each question of the user's and of each form of the others."""
    groups: dict[str, list[Answered]] = {}
    for each in outcome.answers:
        asked = each.asked
        groups.setdefault(asked.text if asked.is_given else f"made up: {asked.form}", []).append(each)
    kept = Counter(id(each) for each in outcome.kept)
    return {"kind": "numbers", "questions": {name: _of_group(group, kept) for name, group in groups.items()}}


def _of_group(group: Sequence[Answered], kept: Counter[int]) -> dict[str, Any]:
    agreements = [each.agreement for each in group if each.agreement is not None]
    found: dict[str, Any] = {"answers": len(group), "records": sum(kept[id(each)] for each in group)}
    if agreements:
        found["agreement"] = fmean(agreements)
    if group[0].asked.form != "open" and (group[0].asked.is_given or group[0].asked.form == "yes_no"):
        found["answered"] = dict(Counter(each.answer for each in group).most_common())
    return found
