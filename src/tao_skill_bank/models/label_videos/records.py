"""Labels of clips as LLaVA records, and as captions: what trainings and people read."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from tao_skill_bank.contracts import to_json
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.models.label_videos.answers import Answered
from tao_skill_bank.models.label_videos.label_store import ClipLabels

RULES = RecordRules(required_fields=("video_fps",), needs_answer=True)


def of_clip(name: str, labels: ClipLabels, min_agreement: float) -> Iterator[tuple[Answered, dict[str, Any]]]:
    """Yield the answers of a clip that agree enough, each with its record, whose `video` is the clip's name."""
    for each in labels.answers:
        if each.agreement is not None and each.agreement < min_agreement:
            continue
        record = _record(name, labels.video_fps, each)
        if not examine(record, RULES)[1]:
            yield each, record


def captions_of(name: str, labels: ClipLabels) -> dict[str, Any] | None:
    """Return the line of captions.jsonl of a clip; None where it has no captions."""
    if labels.captions is None:
        return None
    document: dict[str, Any] = to_json(labels.captions)
    return {"video": name, **document, **({"description": labels.description} if labels.description else {})}


def text_of(records: Iterable[Any]) -> str:
    """Return annotations.json: a list with a record per line."""
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def lines_of(objects: Iterable[Any]) -> str:
    """Return objects as JSON lines."""
    return "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in objects)


def _record(name: str, rate: float, answered: Answered) -> dict[str, Any]:
    question = answered.asked.record_text
    digest = hashlib.sha256(f"{name}\0{question}".encode()).hexdigest()[:12]
    reasoning = f"<think>\n{answered.reasoning}\n</think>\n\n" if answered.reasoning else ""
    return {
        "id": f"{PurePosixPath(name).stem}-{digest}",
        "video": name,
        "video_fps": rate,
        "conversations": [
            {"from": "human", "value": f"<video>\n{question}"},
            {"from": "gpt", "value": f"{reasoning}{answered.answer}"},
        ],
    }
