"""Launches the small training on two ranks as a job and waits for its end.

Its arguments are the run directory and, to resume, `--set train.resume=true`. Like `tao-skills run`, it prints the
problem and the fix of a refused launch, and exits with 8 where the job failed.
"""

import sys
from dataclasses import replace
from pathlib import Path

from runs import make_job, make_plan

from tao_skill_bank.contracts import Resources, State
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.jobs import service

SECONDS = 300.0


def main():
    run_dir, resumes = Path(sys.argv[1]).absolute(), "train.resume=true" in sys.argv
    config = {"run_dir": str(run_dir), "shard": 2, "epochs": 4, "resume": resumes}
    job = make_job(
        run_dir,
        module="small_training",
        distributed=True,
        resources=Resources(processes_per_node=2, device="cpu"),
        config=config,
        config_file="config/train.toml",
        resume_key="train.resume",
    )
    job = replace(job, workload=replace(job.workload, resume=resumes))
    try:
        ended = service.launch(make_plan(job)).wait(SECONDS)
    except TaoSkillsError as error:
        print(f"error: {error.problems[0].message} Fix: {error.problems[0].fix}", file=sys.stderr)
        sys.exit(error.exit_code)
    if ended.state is not State.COMPLETE:
        print(f"{ended.message} Continue with train.resume=true", file=sys.stderr)
        sys.exit(8)


if __name__ == "__main__":
    main()
