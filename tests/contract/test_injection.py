"""No text of a request is ever run: rendered scripts are run by bash, with stubs for everything that they start."""

import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hostile_input import TEXTS
from runs import make_job, make_plan

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Input, PlatformRequest, Request, Resources, Workload
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.planning import gate
from tao_skill_bank.platforms import base
from tao_skill_bank.spec import config_files, door

OURS = (
    "$(touch {canary})", "`touch {canary}`", "'; touch {canary}; '", 'x"; touch {canary}; "',
    "x\ntouch {canary}\n", "'\"$(touch {canary})\"'", "${{PATH:+$(touch {canary})}}", "x; touch {canary} #",
    "x | touch {canary}", "x && touch {canary}", "-c 'touch {canary}'", "x\n#SBATCH --wrap=touch\n",
    "x\\\ntouch {canary}", "x\rtouch {canary}", "<(touch {canary})", "%j$(touch {canary})",
    "{{job_id}}$(touch {canary})", "a,b:$(touch {canary}),/c:/d", "\0$(touch {canary})",
)  # fmt: skip
NUM_RUN = 7  # the first ones: a run of a script takes a tenth of a second
# Takes part in what it is given to start, as srun, a pod or a container would, and records nothing.
STUB = """\
#!/bin/bash
for word in "$@"; do
  case "$word" in "exec "*|*"tao_skill_bank.staging.upload"*" "*) bash -c "$word" < /dev/null; esac
done
exit 0
"""
COMMANDS = ("srun", "scontrol", "apptainer", "docker", "kubectl", "torchrun", "python3", "nproc", "tao-python")
FIELDS = ("results_dir", "results_uri", "image", "model", "prompt", "config", "fetch", "program", "media")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    for name in COMMANDS:
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def hostile(canary):
    """Return the texts by whether the scripts with them are run; the directives and words of all are looked at."""
    known = [text.replace("{canary}", str(canary)) for text in TEXTS if len(text) < 50]
    ours = [text.format(canary=canary) for text in OURS]
    return dict.fromkeys([*known, *ours[NUM_RUN:]], False) | dict.fromkeys(ours[:NUM_RUN], True)


def job_with(field, text, tmp_path, platform):
    """Return a job with a text in one of its fields, and the request that would have brought it."""
    results, options = f"{tmp_path}/run", {"device": "cpu"}
    values = {
        "image": "registry/image:1",
        "distributed": True,
        "resources": Resources(processes_per_node=2, device="cpu"),
    }
    request = {"results_dir": results, "image": "registry/image:1"}
    if field == "results_dir":
        request["results_dir"] = results = f"{results}/{text}"
    elif field == "image":
        request["image"] = values["image"] = text
    elif field == "results_uri":
        request["results_dir"] = values["results_uri"] = f"s3://bucket/{text}"
    elif field == "prompt":
        request["prompt"] = text
        values["config"] = {"results_dir": results, "system_prompt": text, text: text}
    elif field in ("model", "fetch", "media", "config", "program"):
        request["datasets"] = {"train": text}
        values |= {
            "model": {"workload": Workload(model=text, trains=True)},
            "fetch": {"fetches": ((f"s3://bucket/{text}", f"{tmp_path}/{text}"),)},
            "media": {"workload": Workload(inputs=(Input("train", "clips", {"path": f"/{text}"}),), trains=True)},
            "config": {"config": {"path": text}},
            "program": {"command": ("program", text)},
        }[field]
    else:
        options[field] = text
    values["platform"] = PlatformRequest(platform, options=options)
    job = make_job(results, config_file="config/train.toml", resume_key="train.resume", **values)
    return job, Request(job.skill, job.action, platform=job.platform, **request)


def scripts_of(plan):
    """Return the shell scripts of a launch: its own, and those that its manifests hold."""
    found = [text for name, text in plan.files.items() if name.endswith(".sh")]
    for manifest in yaml12.parse_all(plan.files.get("manifest.yaml", ""), "manifest.yaml"):
        data = manifest.get("data", {})
        assert data == {Path(name).name: plan.files[name] for name in plan.files if Path(name).name in data}
        found += [text for name, text in data.items() if name.endswith(".sh")]
    return list(dict.fromkeys(found))


def run(script, folder, stubs):
    """Run a script as the engine would, in its run directory, with stubs for what it starts."""
    Path(folder, "logs").mkdir(parents=True, exist_ok=True)
    script = script.replace(shlex.quote(sys.executable), str(stubs / "tao-python"))
    environment = {
        "PATH": f"{stubs}:/usr/bin:/bin",
        "HOME": str(folder),
        "SLURM_JOB_NODELIST": "a",
        "SLURM_JOB_ID": "1",
    }
    subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, check=False, timeout=600, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("name", base.names())
def test_no_text_of_a_request_is_run(name, tmp_path, canary, stubs, monkeypatch):
    monkeypatch.setattr(catalog, "find", cache(catalog.find))
    platform = base.load(name)
    seen = dict.fromkeys((*FIELDS, *platform.text_options), 0)
    done = set()
    for field in seen:
        for text, is_run in hostile(canary).items():
            try:
                job, request = job_with(field, text, tmp_path, name)
                door.require_plain(request)
                gate.require_known_options(request, platform)
                plan = make_plan(job, name)
            except TaoSkillsError:
                continue
            seen[field] += 1
            config = plan.files[job.config_file]
            assert config == config_files.text(job.config_file, job.config)
            for script in scripts_of(plan):
                require_directives(script, job)
                if is_run and script not in done:
                    run(script, job.results_dir, stubs)
                    done.add(script)
            assert not canary.exists(), (field, text)
            assert all("\n" not in word and "\0" not in word for word in plan.argv), plan.argv
    assert [field for field in FIELDS if field != "image" and not seen[field]] == [], seen
    assert len(done) >= 20


def require_directives(script, job):
    """Require that the directives of a script are ours: one plain token each, and none that a text brought along."""
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    names = [line.split("=")[0].split("--")[1] for line in lines]
    assert len(names) == len(set(names)), lines
    assert "wrap" not in names
    assert all(len(shlex.split(line.removeprefix("#SBATCH "))) == 1 for line in lines), lines


def test_the_stubs_would_run_what_is_not_quoted(tmp_path, canary, stubs):
    run(f"python3 -m x 'exec touch {canary}'", tmp_path, stubs)
    assert canary.exists()
