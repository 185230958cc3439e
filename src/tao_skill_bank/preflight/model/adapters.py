"""Reports which modules the LoRA targets match in the real architecture, built without weights."""

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core.findings import blocking, info, listed, warning
from tao_skill_bank.preflight.model.inspection import Inspection


def check(job: Job, inspection: Inspection) -> list[Finding]:
    """Return the matches of every target, blocking when one matches nothing."""
    lora = inspection.answer.get("lora")
    if not job.workload.trains or not job.workload.uses_adapter or not lora:
        return []
    targets: dict[str, int] = lora["targets"]
    unmatched = list(dict.fromkeys([*lora["unmatched"], *(name for name, count in targets.items() if not count)]))
    if unmatched:
        message = f"LoRA targets match no module of the model: {listed(unmatched)}."
        fix = (
            f"Remove them from the target modules; matched are: {listed([n for n, c in targets.items() if c]) or '-'}."
        )
        return [blocking("adapter_targets_unmatched", message, fix, unmatched=unmatched, targets=targets)]
    vision, language = lora.get("vision_modules", 0), lora.get("language_modules", 0)
    matches = ", ".join(f"{name} {count}" for name, count in targets.items())
    message = f"LoRA targets match {language} language and {vision} vision modules ({matches})."
    found = [info("adapter_targets", message, targets=targets, vision_modules=vision, language_modules=language)]
    if not language and not vision:
        fix = "Name target modules that the model has."
        found = [warning("adapter_targets", message, fix, targets=targets)]
    return found
