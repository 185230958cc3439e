"""Asks the model's own checks about the sampled records: what only it knows of how they will be shown."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.preflight.model.inspection import sibling_module


def check(job: Job, records: Sequence[Probed]) -> list[Finding]:
    """Return the findings of the model's `data_checks`; none where it has no such module."""
    name = sibling_module(job, "data_checks")
    if name is None or not records:
        return []
    module: Any = import_module(name)
    found: list[Finding] = model_hooks.call(f"{name} cannot check the data", lambda: module.check(job.spec, records))
    return found
