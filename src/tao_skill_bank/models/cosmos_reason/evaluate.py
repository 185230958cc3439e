"""Evaluation on annotated media: `torchrun ... -m tao_skill_bank.models.cosmos_reason.evaluate --config F`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from tao_skill_bank.core import subset
from tao_skill_bank.data.records.reader import record_name
from tao_skill_bank.models.cosmos_reason import (
    choices,
    conversation,
    data,
    metrics,
    preload,
    questions,
    rank_assignment,
    saved_answers,
    turns,
    verdicts,
)
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.choices import Choices
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig, rules
from tao_skill_bank.models.cosmos_reason.confusion_matrix import draw
from tao_skill_bank.models.cosmos_reason.engine import Engine
from tao_skill_bank.models.cosmos_reason.questions import Prompts, Question
from tao_skill_bank.models.cosmos_reason.rank_assignment import Batch
from tao_skill_bank.models.cosmos_reason.saved_answers import SavedAnswers, write_json
from tao_skill_bank.models.cosmos_reason.text_metrics import TextMetrics
from tao_skill_bank.models.cosmos_reason.verdicts import Rule
from tao_skill_bank.training import distributed, entrypoint, media_look
from tao_skill_bank.training.entrypoint import Run


@dataclass(frozen=True)
class Done:
    """What was asked and answered, and of how many records."""

    asked: Sequence[Question]
    responses: Mapping[str, Response]
    num_taken: int
    num_records: int


def evaluate(config: EvaluateConfig, run: Run) -> str:
    """Answer every question and score the answers. Returns the closing message."""
    rules.require("evaluate", config)
    run = replace(run, results_dir=run.results_dir / config.model.save_folder)
    settings = config.evaluation
    all_records = data.read_annotations(config.dataset.annotation_path)
    chosen = _chosen(config, all_records)[settings.shard_id :: settings.total_shard]
    rule, options = _rule(config, all_records, chosen)
    with _engine(config, run) as engine:
        prompts, asked = _questions(config, engine, all_records, chosen)
        media_look.require_readable(prompts.records.files(), run.ranks)
        saved = SavedAnswers.open(run.results_dir / "samples", config, rule, engine.weights)
        known = saved.read(asked) if settings.skip_saved else {}
        own = _own_batches(config, run, prompts, [question.name not in known for question in asked])
        found = _answer(config, run, engine.answers(own, prompts, options), (asked, len(own)), saved)
    responses = known | {name: response for part in run.ranks.gather(found) for name, response in part.items()}
    done = Done(asked, responses, len(chosen), len(all_records))
    return _write_results(config, run, done, saved) if run.ranks.is_main else ""


def _chosen(config: EvaluateConfig, records: Sequence[data.Record]) -> Sequence[int]:
    """Return the indices of the records that the limit takes."""
    limit = config.evaluation.limit
    if limit < 0:
        return range(len(records))
    return subset.chosen([record_name(record, index) for index, record in enumerate(records)], limit)


@contextmanager
def _engine(config: EvaluateConfig, run: Run) -> Iterator[Engine]:
    if config.evaluation.engine == "vllm":
        from tao_skill_bank.models.cosmos_reason import vllm_engine

        run.status.phase("starting vLLM")
        with vllm_engine.connected(config, run) as engine:
            yield engine
    else:
        from tao_skill_bank.models.cosmos_reason.local_engine import LocalEngine

        run.status.phase("loading the model")
        yield LocalEngine.load(config, run.ranks)


def _rule(config: EvaluateConfig, records: Sequence[data.Record], chosen: Sequence[int]) -> tuple[Rule, list[Choices]]:
    """Return how answers are read and the choices of each question, before a model is loaded.

    Raises:
        BlockedError: truths or settings do not fit.
        MissingExtraError: a library that scoring needs is not installed.

    """
    every = config.evaluation.turns == "all"
    found: dict[str, turns.Asked] = {}
    for index in chosen:
        shown = conversation.parse(records[index], index, system_prompt=config.dataset.system_prompt)
        for one in turns.asked(shown, every=every):
            found[f"#{index} turn {one.turn}" if every else f"#{index}"] = one
    answer_type = config.evaluation.answer_type
    truths = {place: one.truth for place, one in found.items()}
    rule = Rule(verdicts.kind_of(truths, config.task.type, answer_type), answer_type)
    metrics.require_libraries(rule.kind, config.metrics.names, draws=config.results.save_confusion_matrix)
    if config.evaluation.scoring == "generate":
        return rule, []
    return rule, choices.of([one.text for one in found.values()], list(truths.values()), rule)


def _questions(
    config: EvaluateConfig, engine: Engine, records: Sequence[data.Record], chosen: Sequence[int]
) -> tuple[Prompts, list[Question]]:
    """Return the prompts of all questions in the order of the records, and the questions."""
    shown = data.Presentation(config.vision, config.model.max_length, config.dataset.system_prompt)
    source = data.Records([records[index] for index in chosen], config.dataset.media_dir, engine.processor, shown)
    places: list[tuple[int, int]] = []
    if config.evaluation.turns == "all":
        for position in range(len(source)):
            places += [(position, one.turn) for one in turns.asked(source.conversation(position), every=True)]
    context = min(config.model.max_length, engine.context)
    generation = config.generation
    prompts = Prompts(source, context, generation.max_tokens, generation.max_retries, tuple(places))
    positions = [position for position, _ in places] or list(range(len(source)))
    return prompts, [prompts.question(number, chosen[position]) for number, position in enumerate(positions)]


def _own_batches(config: EvaluateConfig, run: Run, prompts: Prompts, is_open: Sequence[bool]) -> list[Batch]:
    """Return this rank's share of the batches that have an open question.

    Such a batch is answered as a whole, so that a resumed run gives the same answers as an uninterrupted one.
    """
    lengths = questions.lengths(config, prompts.records, run.ranks)
    if prompts.asked:
        lengths = [lengths[record] for record, _ in prompts.asked]
    size = config.evaluation.batch_size if config.evaluation.engine == "transformers" else 1
    made = [batch for batch in rank_assignment.batches(lengths, size) if any(is_open[position] for position in batch)]
    costs = [rank_assignment.cost(batch, lengths, config.generation.max_tokens) for batch in made]
    return rank_assignment.assign(made, costs, run.ranks.world)[run.ranks.rank]


def _answer(
    config: EvaluateConfig,
    run: Run,
    answered: Iterator[tuple[Batch, list[Response]]],
    work: tuple[Sequence[Question], int],
    saved: SavedAnswers,
) -> dict[str, Response]:
    """Collect the answers of this rank's batches, and save each as soon as it is available."""
    asked, count = work
    found: dict[str, Response] = {}
    for number, (batch, responses) in enumerate(answered, start=1):
        for position, response in zip(batch, responses, strict=True):
            found[asked[position].name] = response
            if config.results.save_individual_results:
                saved.write(asked[position], response)
        run.status.progress(number, count, f"{number} of {count} batches answered")
    return found


def _write_results(config: EvaluateConfig, run: Run, done: Done, saved: SavedAnswers) -> str:
    run.status.phase("computing the metrics")
    asked, responses = done.asked, done.responses
    if config.results.save_individual_results and config.evaluation.skip_saved:
        for question in asked:  # a reused answer may be judged otherwise by now
            saved.write(question, responses[question.name])
    scored = [saved_answers.scored(saved.rule, question, responses[question.name]) for question in asked]
    ids = saved_answers.ids(asked)
    results = [
        {**saved_answers.entry(judged, question, saved.rule), "id": name}
        for judged, question, name in zip(scored, asked, ids, strict=True)
    ]
    write_json(run.results_dir / "results.json", results)
    soft = config.evaluation.soft_accuracy
    wanted = TextMetrics(
        tuple(config.metrics.names),
        config.metrics.bertscore_model,
        config.metrics.bertscore_num_layers,
        soft.f1_threshold if soft.enabled else None,
    )
    summary = metrics.summarize(scored, saved.rule, wanted, seed=config.evaluation.seed)
    limit = config.evaluation.limit if config.evaluation.limit > 0 else None
    summary.findings.extend(subset.findings("evaluation.limit", limit, done.num_records, "records", takes_all=-1))
    summary = replace(summary, num_records=done.num_records)
    if config.results.save_metrics_summary:
        write_json(run.results_dir / "metrics_summary.json", asdict(summary))
    accuracy = float(summary.metrics["accuracy"] or 0.0)
    matrix = summary.confusion_matrix
    if matrix and config.results.save_confusion_matrix:
        draw(run.results_dir / "confusion_matrix.png", matrix["labels"], matrix["matrix"], accuracy=accuracy)
    interval = summary.intervals.get("accuracy")
    range_text = f" ({interval.level:.0%} interval {interval.low:.4f} to {interval.high:.4f})" if interval else ""
    warnings = "".join(
        f" Warning: {finding.message} {finding.fix}" for finding in summary.findings if finding.severity != "info"
    )
    taken = (
        "" if done.num_taken == done.num_records else f" of {subset.text(done.num_taken, done.num_records, 'records')}"
    )
    return f"Evaluated {len(asked)} samples{taken}: accuracy {accuracy:.4f}{range_text}.{warnings}"


if __name__ == "__main__":
    entrypoint.main(
        EvaluateConfig,
        evaluate,
        lambda config: config.results_dir,
        distributed.UNEVEN_TIMEOUT,
        load_libraries=preload.for_evaluation,
    )
