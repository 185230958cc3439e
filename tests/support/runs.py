"""Plans, records and waiting for tests that run real processes."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from tao_skill_bank import platforms
from tao_skill_bank.contracts import (
    Job,
    JobRecord,
    Plan,
    PlatformRequest,
    Request,
    Resources,
    Route,
    State,
    Transition,
    Workload,
    to_json,
)
from tao_skill_bank.jobs import store
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import timestamp
from tao_skill_bank.spec import config_files

PYTHON = sys.executable
SUCCESS = ("start", "step:1", "succeed")


def eventually(question, *, seconds=300.0):
    """Return the first true answer of `question`; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{question} was never true within {seconds} s")


def make_job(results_dir, acts=SUCCESS, **changes):
    values = {
        "id": store.new_job_id("cosmos-rl", "train"),
        "skill": "tao-finetune-cosmos-reason",
        "action": "train",
        "network_arch": "cosmos-rl",
        "skill_dir": "/bank/skills/tao-finetune-cosmos-reason",
        "module": "fake_trainer",
        "spec": {
            "train": {"epoch": 1},
            "policy": {"model_name_or_path": "builtin://tiny-cosmos-reason"},
            "custom": {"vision": {"nframes": 8, "total_pixels": 65536}, "system_prompt": "Be brief."},
        },
        "config": {"results_dir": str(results_dir), "acts": list(acts)},
        "config_file": "config/train.json",
        "results_dir": str(results_dir),
        "resources": Resources(device="cpu"),
        "workload": Workload(model="builtin://tiny-cosmos-reason", trains=True),
        "platform": PlatformRequest(options={"grace_seconds": 5}),
        "distributed": False,
    }
    return Job(**{**values, **changes})


def make_plan(job, platform="local"):
    """Return a plan as the dispatcher makes it: the rendered config beside what the platform renders."""
    route = Route("direct", job.skill, "plain training was asked for")
    is_json = job.config_file.endswith(".json")
    config = json.dumps(job.config) if is_json else config_files.text(job.config_file, job.config)
    draft = Plan(job, Request(job.skill, job.action), route, (), {job.config_file: config}, ())
    launch = platforms.load(platform).render(draft)
    files = {**draft.files, **launch.files}
    plan = Plan(job, draft.request, route, (), files, launch.argv)
    return replace(plan, sha256=plan_versions.digest(to_json(plan)))


def make_record(job, **changes):
    values = {
        "id": job.id,
        "platform": "local",
        "network_arch": job.network_arch,
        "skill": job.skill,
        "action": job.action,
        "results_dir": job.results_dir,
        "submitted_at": timestamp(),
        "transitions": (Transition(timestamp(), State.PENDING),),
    }
    return JobRecord(**{**values, **changes})


def is_alive(pid):
    """Tell whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pid_in(path):
    """Return the number that a process wrote into a file, once it is there."""
    return int(eventually(lambda: path.exists() and path.read_text()))
