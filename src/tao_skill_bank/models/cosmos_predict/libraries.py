"""The optional modules that an action of this skill imports. No torch here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tao_skill_bank.bank.libraries import TRAIN, Library, Spec, always, loggers
from tao_skill_bank.core import nested
from tao_skill_bank.weights import model_uri

PREDICT = "predict"
GUARDRAIL, SAFETY = "cosmos_guardrail", "safety_checker"
PIPELINE = ("transformers", "safetensors", "peft")
MEDIA = ("av", "PIL")
LICENSE = "NVIDIA's Open Model License requires a guardrail, so that is for you to decide"
EMBEDDED = "the embedded model makes no pictures that a guardrail could judge"


def needed(action: str, spec: Spec) -> Sequence[Library]:
    """Return the optional modules that an action of a valid spec imports."""
    return OWN[action](spec)


def _train(spec: Spec) -> list[Library]:
    named = loggers("logging.logger", nested.get(spec, "logging.logger") or ())
    return [*_pipeline("train"), *always("train", TRAIN, "av"), *named]


def _generate(spec: Spec) -> list[Library]:
    found = [*_pipeline("generate"), *always("generate", TRAIN, *MEDIA)]
    if spec.get(SAFETY) == "off":
        return found
    is_embedded = model_uri.is_embedded(nested.get(spec, "model.pretrained_model_name_or_path") or "")
    why = EMBEDDED if is_embedded else LICENSE
    off = {SAFETY: "off"}
    return [*found, Library(GUARDRAIL, "", f"{SAFETY} auto", SAFETY, off, is_choice=not is_embedded, why=why)]


def _evaluate(spec: Spec) -> list[Library]:
    path, judge = "metrics", spec["judge"]
    found = always("evaluate", TRAIN, "numpy", "matplotlib", *MEDIA)
    if "sampson" in spec[path]:
        others = [name for name in spec[path] if name != "sampson"]
        without = {path: others} if others else {}
        found.append(Library("cv2", PREDICT, f"{path} sampson", path, without, why="the judge's scores are computed"))
    judged = any(name.startswith("judge_") for name in spec[path])
    if judged and judge.get("model"):
        found += always("with judge.model", TRAIN, "transformers", "safetensors")
    if judged and judge.get("endpoint"):
        key = "judge.endpoint"
        without = {path: ["sampson"]} if "sampson" in spec[path] else {}
        found.append(Library("openai", "endpoint", key, key, without, is_choice=True, why="nothing is judged then"))
    return found


def _pipeline(action: str) -> list[Library]:
    return [*always(action, PREDICT, "diffusers"), *always(action, TRAIN, *PIPELINE)]


OWN: Mapping[str, Callable[[Any], list[Library]]] = {
    "prepare": lambda _: always("prepare", TRAIN, *MEDIA),
    "train": _train,
    "generate": _generate,
    "evaluate": _evaluate,
    "export": lambda _: _pipeline("export"),
}
