"""Whether the truths of an evaluation fit its task and scoring, by the sampled records. No torch here."""

from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import from_error
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import choices, conversation, turns, verdicts

ALL = -1  # evaluation.limit without one


def check(spec: Mapping[str, Any], records: Sequence[Probed]) -> list[Finding]:
    """Return what blocks the evaluation of any record: a truth that is no direction, choices of free text.

    Nothing is said of other actions, nor where a limit or a shard leaves records out: sampled ones may be among these.
    """
    evaluation = spec.get("evaluation")
    if not evaluation or evaluation["limit"] != ALL or evaluation["total_shard"] > 1:
        return []
    asked = _asked(records, every=evaluation["turns"] == "all")
    if not asked:
        return []
    truths = {place: one.truth for place, one in asked.items()}
    answer_type = evaluation["answer_type"]
    try:
        rule = verdicts.Rule(verdicts.kind_of(truths, spec["task"]["type"], answer_type), answer_type)
        if evaluation["scoring"] == "choices":
            choices.of([one.text for one in asked.values()], list(truths.values()), rule)
    except BlockedError as error:
        return from_error(error)
    return []


def _asked(records: Sequence[Probed], *, every: bool) -> dict[str, turns.Asked]:
    found: dict[str, turns.Asked] = {}
    for position, record in enumerate(records):
        index = position if record.index is None else record.index
        try:
            shown = conversation.parse(record.record, index)
            found |= {
                f"#{index} turn {one.turn}" if every else f"#{index}": one for one in turns.asked(shown, every=every)
            }
        except BlockedError:
            continue  # the findings on records say why
    return found
