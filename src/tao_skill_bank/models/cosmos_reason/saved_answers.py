"""Saves one file per answered record under samples/, and reuses those of an earlier run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_reason import answers, metrics
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.metrics import Kind
from tao_skill_bank.models.cosmos_reason.questions import Question


@dataclass(frozen=True)
class SavedAnswers:
    """The sample files of one evaluation. `settings` is a hash of everything that determines an answer."""

    folder: Path
    config: EvaluateConfig
    kind: Kind
    settings: str

    @classmethod
    def open(
        cls, folder: Path, config: EvaluateConfig, kind: Kind, weights: Mapping[str, str | None]
    ) -> "SavedAnswers":
        """Create the folder. `weights` are fingerprints that distinguish models of the same name."""
        folder.mkdir(parents=True, exist_ok=True)
        generation = asdict(config.generation)
        del generation["max_retries"]
        decides = {
            "model": {name: value for name, value in asdict(config.model).items() if name != "save_folder"},
            "weights": dict(weights),
            "vision": asdict(config.vision),
            "system_prompt": config.dataset.system_prompt,
            "generation": generation,
            "seed": config.evaluation.seed if config.generation.temperature > 0 else None,
            "engine": config.evaluation.engine,
        }
        settings = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        return cls(folder, config, kind, settings)

    def write(self, question: Question, response: str) -> None:
        """Save one answer atomically."""
        write_json(self._file(question), self._sample(question, response))

    def read(self, questions: Sequence[Question]) -> dict[int, str]:
        """Return the responses, by index, that the same model gave to the same questions with the same settings.

        Partially written files and those of other runs are ignored.
        """
        found = {}
        for question in questions:
            try:
                sample = json.loads(self._file(question).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            response = sample.get("response") if isinstance(sample, dict) else None
            if isinstance(response, str) and sample == self._sample(question, response):
                found[question.index] = response
        return found

    def _sample(self, question: Question, response: str) -> dict[str, Any]:
        return {
            "index": question.index,
            "id": question.record_id,
            "video_id": question.media,
            "question": question.text,
            "response": response,
            "gt": question.truth,
            "correct": metrics.is_right(scored(self.config, question, response), self.kind),
            "model": self.config.model.model_name,
            "settings": self.settings,
        }

    def _file(self, question: Question) -> Path:
        return self.folder / f"{question.index}.json"


def scored(config: EvaluateConfig, question: Question, response: str) -> metrics.Scored:
    """Return the answer and the truth, both parsed by the spec's answer type."""
    kind = config.evaluation.answer_type
    return metrics.Scored(question.record_id, answers.read(response, kind), answers.read(question.truth, kind))


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file under a temporary name, then rename it."""
    work = path.with_name(f".{path.name}")
    work.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    work.replace(path)
