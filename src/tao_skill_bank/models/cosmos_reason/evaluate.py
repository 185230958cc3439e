"""Evaluation on annotated media: `torchrun ... -m tao_skill_bank.models.cosmos_reason.evaluate --config F`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.errors import RequestError, TaoSkillsError
from tao_skill_bank.models.cosmos_reason import answers, conversation, data, loader, metrics, model
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.confusion_matrix import draw
from tao_skill_bank.models.cosmos_reason.generate import Decoding, answer
from tao_skill_bank.models.cosmos_reason.metrics import Kind
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.entrypoint import Run

Result = dict[str, Any]
TRANSIENT = "media_unreadable"  # a network file system may give the file at the next try


@dataclass(frozen=True)
class Question:
    """One record to answer: `index` is its position in the annotation file."""

    index: int
    record_id: str
    media: str
    text: str
    truth: str


class Questions:
    """Samples whose last assistant turn is left open."""

    def __init__(self, records: data.Records, max_prompt_tokens: int, max_retries: int) -> None:
        self.records = records
        self.max_prompt_tokens = max_prompt_tokens
        self.max_retries = max_retries

    def __getitem__(self, index: int) -> Sample:
        prompt, _, _ = conversation.question_and_answer(self.records.conversation(index))
        frames = self._frames(prompt)
        return self.records.processor.encode(prompt, frames, max_length=self.max_prompt_tokens, answer=True)

    def _frames(self, prompt: conversation.Conversation) -> list[Any]:
        for _ in range(self.max_retries):
            try:
                return self.records.frames(prompt)
            except TaoSkillsError as error:
                if error.problems[0].code != TRANSIENT:
                    raise
        return self.records.frames(prompt)


def evaluate(config: EvaluateConfig, run: Run) -> str:
    """Answer every question and score the answers. Returns the closing message."""
    run = replace(run, results_dir=run.results_dir / config.model.save_folder)
    (run.results_dir / "samples").mkdir(parents=True, exist_ok=True)
    settings = config.evaluation
    all_records = data.read_annotations(config.dataset.annotation_path)
    chosen = range(len(all_records))[: settings.limit if settings.limit >= 0 else None]
    chosen = chosen[settings.shard_id :: settings.total_shard]
    truths = _truths(config, all_records, chosen)
    kind = metrics.kind_of(truths, config.task.type)
    metrics.require_libraries(kind, config.metrics.names, draws=config.results.save_confusion_matrix)
    base = _base(config)
    network, folder = model.load_merged(
        config.model.model_name, base=base, dtype=getattr(torch, config.model.dtype), ranks=run.ranks
    )
    tokenizer = config.model.tokenizer_model_name
    processor = Processor.load(folder, model.find_checkpoint(tokenizer, run.ranks) if tokenizer else None)
    shown = data.Presentation(config.vision, config.model.max_length, config.dataset.system_prompt)
    records = data.Records([all_records[index] for index in chosen], config.dataset.media_dir, processor, shown)
    questions = [_question(records, position, index) for position, index in enumerate(chosen)]

    saved = _saved(config, run, questions, kind) if settings.skip_saved else {}
    open_positions = [position for position, question in enumerate(questions) if question.index not in saved]
    own = _answer_own_share(config, run, network, records, (questions, open_positions, kind))
    responses = saved | {index: text for part in run.ranks.gather(own) for index, text in part.items()}
    if run.ranks.is_main:
        return _write_results(config, run, questions, responses, kind)
    return ""


def _truths(config: EvaluateConfig, records: Sequence[data.Record], chosen: Sequence[int]) -> dict[int, str]:
    """Return the truths of the chosen records, read as answers are, by their position in the annotation file."""
    found = {}
    for index in chosen:
        shown = conversation.parse(records[index], index, system_prompt=config.dataset.system_prompt)
        found[index] = answers.read(conversation.question_and_answer(shown)[2], config.evaluation.answer_type)
    return found


def _answer_own_share(
    config: EvaluateConfig, run: Run, network: Any, records: data.Records, work: tuple[list[Question], list[int], Kind]
) -> dict[int, str]:
    """Answer this rank's batches. Batches are made before they are dealt out, so answers do not depend on ranks."""
    questions, positions, kind = work
    size, generation = config.evaluation.batch_size, config.generation
    every_batch = [positions[start : start + size] for start in range(0, len(positions), size)]
    own = every_batch[run.ranks.rank :: run.ranks.world]
    if generation.max_tokens >= config.model.max_length:
        message = f"generation.max_tokens {generation.max_tokens} leaves no room in max_length."
        fix = f"Raise model.max_length above {generation.max_tokens}."
        raise RequestError.of("max_length", message, fix, path="model.max_length")
    source = Questions(records, config.model.max_length - generation.max_tokens, generation.max_retries)
    workers = config.evaluation.num_processes
    batches = loader.Batches(
        source,
        [[(position, True) for position in batch] for batch in own],
        loader.Workers(workers if workers > 1 else 0, 2),
        loader.Padding(records.processor, side="left"),
    )
    found: dict[int, str] = {}
    for number, (batch, positions_of_batch) in enumerate(zip(batches, own, strict=True), start=1):
        decoding = Decoding(
            generation.max_tokens,
            generation.temperature,
            generation.repetition_penalty,
            generation.presence_penalty,
            generation.frequency_penalty,
            seed=config.evaluation.seed + positions_of_batch[0],
        )
        texts = answer(network, batch, records.processor, decoding, run.ranks.device)
        for position, text in zip(positions_of_batch, texts, strict=True):
            question = questions[position]
            found[question.index] = text
            if config.results.save_individual_results:
                _write_json(_sample_file(run, question), _sample(config, question, text, kind))
        run.status.progress(number, len(own), f"{number} of {len(own)} batches answered")
    return found


def _write_results(
    config: EvaluateConfig, run: Run, questions: Sequence[Question], responses: dict[int, str], kind: Kind
) -> str:
    results = [
        {
            "video_id": question.media,
            "question": question.text,
            "response": responses[question.index],
            "gt": question.truth,
        }
        for question in questions
    ]
    _write_json(run.results_dir / "results.json", results)
    scored = [_scored(config, question, responses[question.index]) for question in questions]
    soft = config.evaluation.soft_accuracy
    wanted = metrics.TextMetrics(
        tuple(config.metrics.names), config.metrics.bertscore_model, soft.f1_threshold if soft.enabled else None
    )
    summary = metrics.summarize(scored, kind, wanted)
    if config.results.save_metrics_summary:
        _write_json(run.results_dir / "metrics_summary.json", asdict(summary))
    accuracy = float(summary.metrics["accuracy"] or 0.0)
    matrix = summary.confusion_matrix
    if matrix and config.results.save_confusion_matrix:
        draw(run.results_dir / "confusion_matrix.png", matrix["labels"], matrix["matrix"], accuracy=accuracy)
    return f"Evaluated {len(questions)} samples: accuracy {accuracy:.4f}."


def _question(records: data.Records, position: int, index: int) -> Question:
    shown = records.conversation(position)
    prompt, text, truth = conversation.question_and_answer(shown)
    name = prompt.media[0].name if prompt.media else ""
    return Question(index, shown.record_id, name, text, truth)


def _saved(config: EvaluateConfig, run: Run, questions: Sequence[Question], kind: Kind) -> dict[int, str]:
    """Return the responses that an earlier run of the same model gave to the same questions."""
    found = {}
    for question in questions:
        path = _sample_file(run, question)
        if path.is_file():
            sample = json.loads(path.read_text(encoding="utf-8"))
            if sample == _sample(config, question, sample.get("response", ""), kind):
                found[question.index] = str(sample["response"])
    return found


def _sample(config: EvaluateConfig, question: Question, response: str, kind: Kind) -> Result:
    scored = _scored(config, question, response)
    return {
        "index": question.index,
        "id": question.record_id,
        "video_id": question.media,
        "question": question.text,
        "response": response,
        "gt": question.truth,
        "correct": metrics.is_right(scored, kind),
        "model": config.model.model_name,
    }


def _scored(config: EvaluateConfig, question: Question, response: str) -> metrics.Scored:
    kind = config.evaluation.answer_type
    return metrics.Scored(question.record_id, answers.read(response, kind), answers.read(question.truth, kind))


def _sample_file(run: Run, question: Question) -> Path:
    return run.results_dir / "samples" / f"{question.index}.json"


def _base(config: EvaluateConfig) -> str | None:
    if config.model.enable_lora and not config.model.base_model_path:
        message = "model.enable_lora needs model.base_model_path."
        raise RequestError.of("base_model_path", message, "Name the base model.", path="model.base_model_path")
    return config.model.base_model_path if config.model.enable_lora else None


def _write_json(path: Path, document: Any) -> None:
    work = path.with_name(f".{path.name}")
    work.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    work.replace(path)


if __name__ == "__main__":
    entrypoint.main(EvaluateConfig, evaluate, lambda config: config.results_dir, distributed.UNEVEN_TIMEOUT)
