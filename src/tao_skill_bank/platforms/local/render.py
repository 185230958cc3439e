"""A sealed plan to the script that runs it on this machine. Pure."""

import shlex
import sys
from pathlib import Path

from tao_skill_bank.contracts import Job, Launch, Plan
from tao_skill_bank.platforms import script as job_script
from tao_skill_bank.platforms import torchrun

SCRIPT = """\
#!/usr/bin/env bash
# Job {job_id}: rendered by tao-skill-bank for platform local. Output goes to logs/job.log.
set -euo pipefail
cd {results_dir}

{record_exit_code}
{environment}
{commands}"""


def launch(plan: Plan) -> Launch:
    """Return launch.sh and the command that runs it."""
    job = plan.job
    controller = (sys.executable, "-m", "tao_skill_bank.automl.controller", "--run", job.results_dir)
    commands = _commands(job) if plan.study is None else [controller]
    devices = job.platform.options.get("devices")
    script = SCRIPT.format(
        job_id=job.id,
        results_dir=shlex.quote(job.results_dir),
        environment=job_script.environment(plan, devices=None if devices is None else str(devices)),
        record_exit_code=job_script.record_exit_code(plan),
        commands="".join(f"{shlex.join(command)}\n" for command in commands),
    )
    return Launch({"launch.sh": script}, ("bash", str(Path(job.results_dir) / "launch.sh")))


def _commands(job: Job) -> list[tuple[str, ...]]:
    fetch = (sys.executable, "-m", "tao_skill_bank.training.fetch")
    return [*((*fetch, uri, folder) for uri, folder in job.fetches), torchrun.command(job)]
