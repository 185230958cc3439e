"""NVIDIA's guardrail for prompts and videos: required unless the user explicitly disables it."""

import importlib
from importlib import util
from typing import Any, Literal, Protocol

import torch

from tao_skill_bank.errors import BlockedError

GUARDRAIL = "cosmos_guardrail"


class SafetyChecker(Protocol):
    """The interface of cosmos_guardrail's CosmosSafetyChecker that diffusers' pipelines use."""

    def check_text_safety(self, prompt: str) -> bool: ...

    def check_video_safety(self, frames: Any) -> Any: ...


def require_safety_checker(setting: Literal["auto", "off"]) -> bool:
    """Return whether generated videos are checked.

    Raises:
        BlockedError: they should be, but cosmos_guardrail is not installed.

    """
    if setting == "off":
        return False
    if util.find_spec(GUARDRAIL) is None:
        message = f"The safety checker needs the Python module '{GUARDRAIL}', which is not installed."
        fix = (
            f"pip install {GUARDRAIL}, or set safety_checker=off to generate unchecked, which the results record; "
            "NVIDIA's Open Model License requires a guardrail."
        )
        raise BlockedError.of("no_safety_checker", message, fix, path="safety_checker")
    return True


def load_safety_checker(device: torch.device) -> SafetyChecker:
    """Return cosmos_guardrail's checker on `device`."""
    checker: SafetyChecker = importlib.import_module(GUARDRAIL).CosmosSafetyChecker().to(device)
    return checker
