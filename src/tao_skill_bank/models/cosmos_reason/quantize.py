"""Quantizes a checkpoint for vLLM: `python -m tao_skill_bank.models.cosmos_reason.quantize --config F`.

Writes safetensors/quantized, and results.json with the loss of quality. Everything that is not quantized is kept in
bfloat16. The measurement afterwards uses the written folder, loaded again by transformers, which computes with the
quantized values in bfloat16 on any device.
"""

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.models.cosmos_reason import loader, model
from tao_skill_bank.models.cosmos_reason.config import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.quantization import checkpoint, comparison, records, scales, scheme
from tao_skill_bank.models.cosmos_reason.quantization.activations import Activations, observe
from tao_skill_bank.models.cosmos_reason.quantization.comparison import Measured
from tao_skill_bank.models.cosmos_reason.quantization.records import Records
from tao_skill_bank.models.cosmos_reason.quantization.smoothing import smooth
from tao_skill_bank.models.cosmos_reason.saved_answers import write_json
from tao_skill_bank.runs.status_log import StatusWriter
from tao_skill_bank.training import entrypoint
from tao_skill_bank.training.checkpoint import write_whole
from tao_skill_bank.training.entrypoint import Run

DTYPE = torch.bfloat16
TARGET = "safetensors/quantized"
NOT_EVALUATED = "not evaluated: give held-out data as `dataset` to measure the loss of quality"
TEST_RECORD = 0


@dataclass(frozen=True)
class Tested:
    """The test results of a model; None for tests that were not requested."""

    measured: Measured | None
    generation: str | None


@dataclass
class Steps:
    """Counts records over all phases, so that the remaining time covers the whole run."""

    status: StatusWriter
    total: int
    done: int = 0

    def add(self, count: int, message: str) -> None:
        self.done += count
        self.status.progress(self.done, self.total, message)


@dataclass(frozen=True)
class Data:
    """Calibration records and, if the spec has them, held-out ones."""

    calibration: Records
    held_out: Records | None


def quantize(config: QuantizeConfig, run: Run) -> str:
    """Quantize a checkpoint, write it, measure it. Returns the closing message."""
    scheme.require_library()
    base = _base(config)
    folder = model.find_checkpoint(base or config.model.model_path, run.ranks)
    _require_unquantized(folder)
    processor = Processor.load(folder)
    sources = Data(records.calibration(config, processor), records.held_out(config, processor))
    target = run.results_dir / TARGET
    steps = Steps(run.status, len(sources.calibration) + 2 * len(sources.held_out or ()))
    before, facts = _write_checkpoint(config, run, sources, steps)
    gc.collect()
    if run.ranks.device.type == "cuda":
        torch.cuda.empty_cache()
    after = before
    if before != Tested(None, None):
        after = _test(config, model.load(target, DTYPE, run.ranks.device).eval(), sources, steps)
    results = {
        "scheme": config.quantize.quantization_scheme,
        "kv_precision": config.quantize.kv_precision,
        "checkpoint": TARGET,
        **facts,
        "evaluation": _evaluation(before, after, sources),
        "test_generation": _generation(before, after, sources),
    }
    _write_results(run.results_dir, results)
    return _closing(results)


def _write_checkpoint(config: QuantizeConfig, run: Run, sources: Data, steps: Steps) -> tuple[Tested, dict[str, Any]]:
    """Test the model, quantize it, write it, and free its memory.

    Returns:
        The test results before, and the results.json entry of the checkpoint.

    """
    run.status.phase("loading the model")
    network, folder = model.load_merged(config.model.model_path, base=_base(config), dtype=DTYPE, ranks=run.ranks)
    num_bytes = sum(parameter.numel() * DTYPE.itemsize for parameter in network.parameters())
    before = _test(config, network, sources, steps)
    calibration = _quantize(config, network, sources.calibration, steps)
    target = run.results_dir / TARGET
    run.status.phase("saving the checkpoint")
    write_whole(target, lambda work: checkpoint.write(network, work, folder), run.ranks)
    facts = {
        "quantized_layers": len(scheme.quantized_layers(network)),
        "bytes": {"before": num_bytes, "after": checkpoint.weight_bytes(target)},
        "calibration": calibration,
    }
    return before, facts


def _base(config: QuantizeConfig) -> str | None:
    if config.model.enable_lora and not config.model.base_model_path:
        message = "model.enable_lora needs model.base_model_path."
        raise RequestError.of("base_model_path", message, "Set it to the base model.", path="model.base_model_path")
    return config.model.base_model_path if config.model.enable_lora else None


def _require_unquantized(folder: Path) -> None:
    if scheme.is_quantized(folder):
        message = f"{folder} is already quantized."
        fix = "Give the checkpoint that it was quantized from."
        raise BlockedError.of("already_quantized", message, fix, path="model.model_path")


def _test(config: QuantizeConfig, network: Any, sources: Data, steps: Steps) -> Tested:
    options = config.quantize
    measured = generation = None
    if sources.held_out:
        measured = comparison.measure(network, sources.held_out, options.max_new_tokens, steps.add)
    if not options.skip_test_generation:
        positions = range(TEST_RECORD, TEST_RECORD + 1)
        generation = comparison.answer(network, sources.calibration, positions, options.max_new_tokens)[0]
    return Tested(measured, generation)


def _quantize(config: QuantizeConfig, network: Any, source: Records, steps: Steps) -> dict[str, Any]:
    """Quantize the network in place. Returns the results.json entry of the calibration."""
    options = config.quantize
    scheme.apply(network, options.quantization_scheme, kv_fp8=options.kv_precision == "fp8")
    activations = Activations()
    calibrated: dict[str, Any] = {"records": 0, "asked": options.num_calibration_samples}
    if scheme.needs_activations(network):
        activations, counts = _calibrate(network, source, steps)
        calibrated |= counts
    else:
        steps.add(len(source), "no calibration needed")
        calibrated["reason"] = "this scheme computes its scales from the weights, and at run time per token"
    if options.quantization_scheme == "W8A8":
        activations = smooth(network, activations, options.smoothing_strength)
    scales.set_scales(network, activations)
    scales.pack(network)
    return calibrated


def _calibrate(network: Any, source: Records, steps: Steps) -> tuple[Activations, dict[str, int]]:
    counts = {"records": 0, "tokens": 0, "vision_tokens": 0}
    unpadded = loader.Padding(source.processor, side="left")  # padding would affect the statistics
    with observe(network) as activations, torch.inference_mode():
        for position in range(len(source)):
            sample = source[position]
            batch = loader.to_device(loader.collate([sample], unpadded), network.device, source.processor)
            network(**batch.inputs, logits_to_keep=1, use_cache=False)
            counts["records"] += 1
            counts["tokens"] += len(sample.input_ids)
            counts["vision_tokens"] += int((sample.token_types > 0).sum())
            steps.add(1, f"{counts['records']} of {len(source)} records calibrated")
    return activations, counts


def _evaluation(before: Tested, after: Tested, sources: Data) -> dict[str, Any] | None:
    if sources.held_out is None or before.measured is None or after.measured is None:
        return None
    return comparison.report(before.measured, after.measured, sources.held_out)


def _generation(before: Tested, after: Tested, sources: Data) -> dict[str, str | None] | None:
    if before.generation is None:
        return None
    asked, truth = sources.calibration.question(TEST_RECORD)
    record_id = sources.calibration.conversation(TEST_RECORD).record_id
    answers = {"before": before.generation, "after": after.generation}
    return {"id": record_id, "question": asked, **answers, "gt": truth}


def _write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write results.json, and the metrics where `status` and the report read them."""
    evaluation = results["evaluation"]
    figures: dict[str, Any] = {"bytes_ratio": results["bytes"]["after"] / results["bytes"]["before"]}
    if evaluation:
        for name in ("token_loss", "accuracy"):
            figures |= {f"{name}_{when}": evaluation[when][name] for when in ("before", "after", "delta")}
        figures["same_answers"] = evaluation["same_answers"]
    summary = {
        "kind": "numbers",
        "task": "quantization",
        "num_samples": evaluation["records"] if evaluation else 0,
        "metrics": figures,
        "not_computed": {} if evaluation else {"token_loss": NOT_EVALUATED, "accuracy": NOT_EVALUATED},
    }
    for name, document in (("results.json", results), ("metrics_summary.json", summary)):
        write_json(folder / name, document)


def _closing(results: dict[str, Any]) -> str:
    sizes, calibration, evaluation = results["bytes"], results["calibration"], results["evaluation"]
    sentences = [
        f"Wrote {results['checkpoint']}: {results['scheme']}, {sizes['after'] / 2**20:.1f} MiB of "
        f"{sizes['before'] / 2**20:.1f} MiB in bfloat16."
    ]
    if 0 < calibration["records"] < calibration["asked"]:
        sentences.append(f"Calibrated on all {calibration['records']} records: {calibration['asked']} were requested.")
    if evaluation:
        before, after, delta = evaluation["before"], evaluation["after"], evaluation["delta"]
        sentences.append(
            f"On {evaluation['records']} held-out records the token loss went from {before['token_loss']:.4f} to "
            f"{after['token_loss']:.4f} ({delta['token_loss']:+.4f}), accuracy from {before['accuracy']:.4f} to "
            f"{after['accuracy']:.4f}; {evaluation['same_answers']:.0%} of the answers are the same."
        )
    else:
        sentences.append(f"{NOT_EVALUATED[0].upper()}{NOT_EVALUATED[1:]}.")
    return " ".join(sentences)


if __name__ == "__main__":
    entrypoint.main(QuantizeConfig, quantize, lambda config: config.results_dir)
