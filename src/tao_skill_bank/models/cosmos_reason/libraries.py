"""The optional modules that an action of this skill imports. No torch here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.bank.libraries import TRAIN, Library, Spec, always, loggers
from tao_skill_bank.core import nested
from tao_skill_bank.runs.run_directory import read_object

WEIGHTS = ("transformers", "safetensors")
MEDIA = ("numpy", "av", "PIL")
PACKED = {"compressed-tensors": ("compressed_tensors", "quantize"), "bitsandbytes": ("bitsandbytes", "qlora")}
ENGINE, METRICS = "evaluation.engine", "metrics.names"


def needed(action: str, spec: Spec) -> Sequence[Library]:
    """Return the optional modules that an action of a valid spec imports."""
    media = () if action == "export" else MEDIA
    return [*always(action, TRAIN, *WEIGHTS, *media), *OWN[action](spec)]


def _train(spec: Spec) -> list[Library]:
    lora, float8 = nested.get(spec, "policy.lora"), "train.fp8.enable_fp8"
    found = loggers("logging.logger", nested.get(spec, "logging.logger") or ())
    if lora:
        found += always("train with policy.lora", TRAIN, "peft")
    if lora and lora.get("load_in_4bit"):
        path = "policy.lora.load_in_4bit"
        why = "the decoder then takes about four times the memory"
        found.append(Library("bitsandbytes", "qlora", path, path, {path: False}, why=why))
    if nested.get(spec, float8):
        why = "steps are slower in bfloat16"
        found.append(Library("torchao", "fp8", float8, float8, {float8: False}, why=why))
    return found


def _evaluate(spec: Spec) -> list[Library]:
    model = spec["model"]
    found = [*_adapter(model["enable_lora"]), *_packed(model["model_name"])]
    settings = spec["evaluation"]
    if settings["engine"] == "vllm":
        why = "the same answers at temperature 0, more slowly"
        without = {ENGINE: "transformers"}
        found.append(Library("openai", "endpoint", f"{ENGINE} vllm", ENGINE, without, why=why))
        if not settings["vllm"].get("base_url"):
            found.append(Library("vllm", "vllm", f"{ENGINE} vllm without a server", ENGINE, without, why=why))
    return [*found, *_scores(spec)]


def _scores(spec: Spec) -> list[Library]:
    """Return what scoring imports: by the truths, either libraries of classes or those of texts."""
    names: Sequence[str] = spec["metrics"]["names"]
    found = [Library("sklearn", TRAIN, "The scoring of classes")]
    if spec["results"]["save_confusion_matrix"]:
        path = "results.save_confusion_matrix"
        found.append(Library("matplotlib", TRAIN, path, path, {path: False}, why="the numbers stay in the summary"))
    for name, module in (("bleu", "sacrebleu"), ("rouge", "rouge_score")):
        if name in names:
            found.append(_text_metric(name, module, TRAIN, names))
    if "bertscore" in names:
        found.append(_text_metric("bertscore", "bert_score", "bertscore", names, fails=False))
    return found


def _text_metric(name: str, module: str, extra: str, names: Sequence[str], *, fails: bool = True) -> Library:
    without = {METRICS: [other for other in names if other != name]}
    return Library(module, extra, f"{METRICS} {name}", METRICS, without, fails=fails, why="the others are computed")


def _quantize(spec: Spec) -> list[Library]:
    return [*always("quantize", "quantize", "compressed_tensors"), *_adapter(spec["model"]["enable_lora"])]


def _adapter(is_merged: bool) -> list[Library]:
    return always("with an adapter", TRAIN, "peft") if is_merged else []


def _packed(model: str) -> list[Library]:
    """Return what reads the weights of a quantized checkpoint on this machine."""
    stored = read_object(Path(model) / "config.json").get("quantization_config") if "://" not in model else None
    method = stored.get("quant_method") if isinstance(stored, dict) else None
    return [Library(*PACKED[method], f"The quantized checkpoint {model}")] if method in PACKED else []


OWN: Mapping[str, Callable[[Any], list[Library]]] = {
    "train": _train,
    "evaluate": _evaluate,
    "embed": lambda spec: _adapter(spec["model"]["enable_lora"]),
    "quantize": _quantize,
    "inference": lambda spec: [*_adapter(spec["enable_lora"]), *_packed(spec["model_path"])],
    "export": lambda spec: _adapter(spec["enable_lora"]),
}
