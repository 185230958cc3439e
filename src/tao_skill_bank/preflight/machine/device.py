"""Reports a number of GPUs that was asked for and is not what the job computes on."""

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core.findings import info, warning

PATH = "platform.gpus"


def check(job: Job) -> list[Finding]:
    """Return the finding of `platform.gpus` where the job computes on a CPU, or in one process whatever it says."""
    asked = job.platform.gpus
    if asked is None:
        return []
    if not job.distributed and asked > 1:
        message = f"{job.skill} {job.action} runs as one process: {PATH} {asked} (--gpus) is not used."
        return [warning("gpus_unused", message, "Leave --gpus out.", PATH, gpus=asked)]
    if job.resources.device != "cpu":
        return []
    processes = job.resources.world_size
    if job.platform.options.get("device") == "cpu":
        message = f"{PATH} {asked} (--gpus) counts processes: the job computes on the CPU, as device=cpu asks for."
        return [info("gpus_are_processes", message, PATH, gpus=asked, processes=processes)]
    model = job.workload.model
    why = f"the model {model} is made for CPUs" if model else "its parent ran there, or it loads no model"
    message = f"{asked} GPUs were asked for (--gpus), and the job computes on the CPU in {processes} processes: {why}."
    fix = "To compute on GPUs: --option device=cuda. "
    fix += f"To run {processes} processes on the CPU: --option device=cpu; else leave --gpus out."
    if not catalog.find(job.skill).action(job.action).inputs.models:
        fix = "Leave --gpus out, or confirm the processes: --option device=cpu."
    return [warning("gpus_on_cpu", message, fix, PATH, gpus=asked, processes=processes)]
