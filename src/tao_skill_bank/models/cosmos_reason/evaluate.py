"""Evaluation on annotated media: `torchrun ... -m tao_skill_bank.models.cosmos_reason.evaluate --config F`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from tao_skill_bank.models.cosmos_reason import (
    answers,
    conversation,
    data,
    metrics,
    questions,
    rank_assignment,
    saved_answers,
)
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, rules
from tao_skill_bank.models.cosmos_reason.confusion_matrix import draw
from tao_skill_bank.models.cosmos_reason.engine import Engine
from tao_skill_bank.models.cosmos_reason.metrics import Kind
from tao_skill_bank.models.cosmos_reason.questions import Prompts, Question
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch
from tao_skill_bank.models.cosmos_reason.saved_answers import SavedAnswers, write_json
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.entrypoint import Run


def evaluate(config: EvaluateConfig, run: Run) -> str:
    """Answer every question and score the answers. Returns the closing message."""
    rules.require("evaluate", config)
    run = replace(run, results_dir=run.results_dir / config.model.save_folder)
    settings = config.evaluation
    all_records = data.read_annotations(config.dataset.annotation_path)
    chosen = range(len(all_records))[: settings.limit if settings.limit >= 0 else None]
    chosen = chosen[settings.shard_id :: settings.total_shard]
    kind = metrics.kind_of(_truths(config, all_records, chosen), config.task.type)
    metrics.require_libraries(kind, config.metrics.names, draws=config.results.save_confusion_matrix)
    with _engine(config, run) as engine:
        shown = data.Presentation(config.vision, config.model.max_length, config.dataset.system_prompt)
        source = data.Records(
            [all_records[index] for index in chosen], config.dataset.media_dir, engine.processor, shown
        )
        asked = [Question.of(source, position, index) for position, index in enumerate(chosen)]
        saved = SavedAnswers.open(run.results_dir / "samples", config, kind, engine.weights)
        known = saved.read(asked) if settings.skip_saved else {}
        own = _own_batches(config, run, source, [question.index not in known for question in asked])
        found = _answer(config, run, (engine, source), (asked, own), saved)
    responses = known | {index: text for part in run.ranks.gather(found) for index, text in part.items()}
    return _write_results(config, run, asked, responses, kind) if run.ranks.is_main else ""


@contextmanager
def _engine(config: EvaluateConfig, run: Run) -> Iterator[Engine]:
    if config.evaluation.engine == "vllm":
        from tao_skill_bank.models.cosmos_reason import vllm_engine

        with vllm_engine.connected(config, run) as engine:
            yield engine
    else:
        from tao_skill_bank.models.cosmos_reason.local_engine import LocalEngine

        yield LocalEngine.load(config, run.ranks)


def _truths(config: EvaluateConfig, records: Sequence[data.Record], chosen: Sequence[int]) -> dict[int, str]:
    """Return the truths of the chosen records, parsed like answers, by their position in the annotation file."""
    found = {}
    for index in chosen:
        shown = conversation.parse(records[index], index, system_prompt=config.dataset.system_prompt)
        found[index] = answers.read(conversation.question_and_answer(shown)[2], config.evaluation.answer_type)
    return found


def _own_batches(config: EvaluateConfig, run: Run, source: data.Records, is_open: Sequence[bool]) -> list[Batch]:
    """Return this rank's share of the batches that have an open question.

    Such a batch is answered as a whole, so that a resumed run gives the same answers as an uninterrupted one.
    """
    lengths = questions.lengths(config, source, run.ranks)
    size = config.evaluation.batch_size if config.evaluation.engine == "transformers" else 1
    made = [batch for batch in rank_assignment.batches(lengths, size) if any(is_open[position] for position in batch)]
    costs = [rank_assignment.cost(batch, lengths, config.generation.max_tokens) for batch in made]
    return rank_assignment.assign(made, costs, run.ranks.world)[run.ranks.rank]


def _answer(
    config: EvaluateConfig,
    run: Run,
    asking: tuple[Engine, data.Records],
    work: tuple[Sequence[Question], Sequence[Batch]],
    saved: SavedAnswers,
) -> dict[int, str]:
    """Answer this rank's batches, and save each answer as soon as it is available."""
    (engine, source), (asked, own) = asking, work
    context = min(config.model.max_length, engine.context)
    prompts = Prompts(source, context, config.generation.max_tokens, config.generation.max_retries)
    found: dict[int, str] = {}
    for number, (batch, texts) in enumerate(engine.answers(own, prompts), start=1):
        for position, text in zip(batch, texts, strict=True):
            found[asked[position].index] = text
            if config.results.save_individual_results:
                saved.write(asked[position], text)
        run.status.progress(number, len(own), f"{number} of {len(own)} batches answered")
    return found


def _write_results(
    config: EvaluateConfig, run: Run, asked: Sequence[Question], responses: dict[int, str], kind: Kind
) -> str:
    results = [
        {
            "video_id": question.media,
            "question": question.text,
            "response": responses[question.index],
            "gt": question.truth,
        }
        for question in asked
    ]
    write_json(run.results_dir / "results.json", results)
    scored = [saved_answers.scored(config, question, responses[question.index]) for question in asked]
    soft = config.evaluation.soft_accuracy
    wanted = metrics.TextMetrics(
        tuple(config.metrics.names),
        config.metrics.bertscore_model,
        config.metrics.bertscore_num_layers,
        soft.f1_threshold if soft.enabled else None,
    )
    summary = metrics.summarize(scored, kind, wanted)
    if config.results.save_metrics_summary:
        write_json(run.results_dir / "metrics_summary.json", asdict(summary))
    accuracy = float(summary.metrics["accuracy"] or 0.0)
    matrix = summary.confusion_matrix
    if matrix and config.results.save_confusion_matrix:
        draw(run.results_dir / "confusion_matrix.png", matrix["labels"], matrix["matrix"], accuracy=accuracy)
    return f"Evaluated {len(asked)} samples: accuracy {accuracy:.4f}."


if __name__ == "__main__":
    entrypoint.main(EvaluateConfig, evaluate, lambda config: config.results_dir, distributed.UNEVEN_TIMEOUT)
