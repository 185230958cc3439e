"""Saves one file per answered question under samples/, and reuses the answers of an earlier run.

An answer is reused where the same was asked: the same prompt about the same media, of the same model with the same
settings. How it was judged does not matter: truths, task and scoring rules may change, and it is judged again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.metrics import Scored
from tao_skill_bank.models.cosmos_reason.questions import Question
from tao_skill_bank.models.cosmos_reason.verdicts import Rule
from tao_skill_bank.runs import fencing


@dataclass(frozen=True)
class SavedAnswers:
    """The sample files of one evaluation. `settings` is a hash of everything that determines an answer."""

    folder: Path
    config: EvaluateConfig
    rule: Rule
    settings: str

    @classmethod
    def open(
        cls, folder: Path, config: EvaluateConfig, rule: Rule, weights: Mapping[str, str | None]
    ) -> "SavedAnswers":
        """Create the folder. `weights` are fingerprints that distinguish models of the same name."""
        folder.mkdir(parents=True, exist_ok=True)
        generation = asdict(config.generation)
        del generation["max_retries"]
        decides = {
            "model": {name: value for name, value in asdict(config.model).items() if name != "save_folder"},
            "weights": dict(weights),
            "vision": asdict(config.vision),
            "scoring": config.evaluation.scoring,
            "generation": generation,
            "seed": config.evaluation.seed if config.generation.temperature > 0 else None,
            "engine": config.evaluation.engine,
        }
        settings = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        return cls(folder, config, rule, settings)

    def write(self, question: Question, response: Response) -> None:
        """Save one answer with its verdict, atomically."""
        write_json(self._file(question), self._sample(question, response))

    def read(self, questions: Sequence[Question]) -> dict[str, Response]:
        """Return the responses, by name, that the same model gave to the same questions with the same settings.

        Partially written files and those of other runs are ignored.
        """
        found = {question.name: self._read(question) for question in questions}
        return {name: response for name, response in found.items() if response is not None}

    def _read(self, question: Question) -> Response | None:
        try:
            sample = json_reader.loads(regular_files.read_bytes(self._file(question)))
        except (OSError, ValueError):
            return None
        if not isinstance(sample, dict) or any(
            sample.get(key) != value for key, value in self._asked(question).items()
        ):
            return None
        text, is_cut, known = sample.get("response"), sample.get("hit_max_tokens"), sample.get("log_likelihoods", {})
        if not isinstance(text, str) or not isinstance(is_cut, bool) or not isinstance(known, dict):
            return None
        return Response(text, is_cut, known)

    def _asked(self, question: Question) -> dict[str, Any]:
        return {"model": self.config.model.model_name, "asked": question.identity, "settings": self.settings}

    def _sample(self, question: Question, response: Response) -> dict[str, Any]:
        judged = scored(self.rule, question, response)
        return {
            "index": question.index,
            "id": question.record_id,
            **entry(judged, question, self.rule),
            "correct": judged.verdict.is_right,
            **self._asked(question),
        }

    def _file(self, question: Question) -> Path:
        return self.folder / f"{question.name}.json"


def scored(rule: Rule, question: Question, response: Response) -> Scored:
    """Return an answer with its verdict."""
    return Scored.of(question.record_id, question.media, response, question.truth, rule)


def ids(questions: Sequence[Question]) -> list[str]:
    """Return a unique id per question: its record's, with the turn, and with the index where records share one."""
    named = [f"{question.record_id}:{question.turn}" if question.turn else question.record_id for question in questions]
    counts = Counter(named)
    return [
        f"{name}#{question.index}" if counts[name] > 1 else name
        for name, question in zip(named, questions, strict=True)
    ]


def entry(judged: Scored, question: Question, rule: Rule) -> dict[str, Any]:
    """Return an answer's entry of results.json, without its id."""
    shown: dict[str, Any] = {
        "video_id": question.media,
        "question": question.text,
        "response": judged.response.text,
        "gt": question.truth,
        "verdict": judged.verdict.outcome,
        "read_as": judged.verdict.prediction,
        "hit_max_tokens": judged.response.is_cut,
    }
    if not rule.is_closed:
        shown["token_f1"] = judged.token_f1
    if question.turn:
        shown["turn"] = question.turn
    if judged.response.log_likelihoods:
        probabilities = judged.probabilities
        shown |= {
            "confidence": max(probabilities.values()),
            "probabilities": probabilities,
            "log_likelihoods": dict(judged.response.log_likelihoods),
        }
    return shown


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file under a temporary name, then rename it. Raises JobFailedError in a superseded process."""
    fencing.require_current()
    work = path.with_name(f".{path.name}")
    work.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    work.replace(path)
