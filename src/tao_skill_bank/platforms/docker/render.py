"""A sealed plan to its script and the `docker run` that starts it. Pure."""

import csv
import io
import shlex
from pathlib import Path

from tao_skill_bank.contracts import Job, Launch, Plan
from tao_skill_bank.core import settings
from tao_skill_bank.platforms import inputs, torchrun
from tao_skill_bank.platforms import script as job_script
from tao_skill_bank.platforms.docker.options import Mount, Options

SCRIPT_FILE = "launch.sh"
LABEL = "tao-skill-bank.job"  # docker ps --all --filter label=tao-skill-bank.job lists our containers
# Passed on by name where they are set: credentials, endpoints and proxies.
PASSED_ON = (
    *("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "WANDB_API_KEY", "OPENAI_API_KEY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
HOST_NETWORK = "host"
THREADS = "OMP_NUM_THREADS"
HOME = "/tmp"  # the user of the request has no home in the image

SCRIPT = """\
#!/usr/bin/env bash
# Job {job_id}: rendered by tao-skill-bank for platform docker. Output goes to logs/job.log.
set -euo pipefail
cd {results_dir}
exec >> logs/job.log 2>&1  # it outlives the container

{record_exit_code}
{environment}
{commands}"""


def launch(plan: Plan, options: Options) -> Launch:
    """Return the script, and the command that runs it in a container of the job's name."""
    job = plan.job
    fetch = (options.python, "-m", "tao_skill_bank.training.fetch")
    commands = [*((*fetch, uri, folder) for uri, folder in job.fetches), torchrun.command(job, python=options.python)]
    script = SCRIPT.format(
        job_id=job.id,
        results_dir=shlex.quote(job.results_dir),
        record_exit_code=job_script.record_exit_code(plan, python=options.python),
        environment=job_script.environment(plan),
        commands="".join(f"{shlex.join(command)}\n" for command in commands),
    )
    return Launch({SCRIPT_FILE: script}, _argv(job, options))


def state_folders() -> tuple[str, ...]:
    """Return the folders of the state directory that a container may write: models that it fetches, and caches."""
    return tuple(str(settings.state_dir() / name) for name in ("models", "cache"))


def mounts(job: Job, options: Options) -> list[Mount]:
    """Return what the container sees of the daemon's machine, everything at the same path unless an option says so."""
    wanted = [Mount(path, path, read_only=True) for path in inputs.paths(job)]
    wanted += [Mount(folder, folder) for folder in (job.results_dir, *state_folders())]
    by_target = {mount.target: mount for mount in [*wanted, *options.mounts]}  # the user's options take precedence
    return [by_target[target] for target in sorted(by_target)]


def _argv(job: Job, options: Options) -> tuple[str, ...]:
    words = ["docker", *(("--host", options.host) if options.host else ()), "run", "--detach"]
    words += ["--name", job.id, "--label", f"{LABEL}={job.id}"]
    words += ["--pull", "never"]  # a launch does not include minutes of download
    words += ["--init", "--env", "TINI_KILL_PROCESS_GROUP=1"]  # a signal reaches the trainer, not its shell alone
    words += ["--stop-timeout", str(round(options.grace_seconds))]  # also when the daemon ends
    words += _limits(job, options)
    words += ["--user", options.user] if options.user else []
    words += ["--network", options.network] if options.network else []
    if options.network != HOST_NETWORK:  # the processes of a job look each other up by the name of their machine
        words += ["--hostname", job.id, "--add-host", f"{job.id}:127.0.0.1"]
    for mount in mounts(job, options):
        words += ["--mount", _mount_text(mount)]
    settled = {"HOME": HOME, "USER": "tao", "TAO_STATE_DIR": str(settings.state_dir())}
    settled["HF_HOME"] = str(settings.state_dir() / "cache" / "huggingface")
    if options.cpus is not None and job.resources.device == "cpu" and not _sets(options, THREADS):
        # A limit does not change the number of cores: libraries would start a thread for each of them.
        settled[THREADS] = str(max(1, int(options.cpus) // job.resources.processes_per_node))
    for name, value in settled.items():
        words += ["--env", f"{name}={value}"]
    for name in dict.fromkeys((*PASSED_ON, *(credential.name for credential in job.credentials), *options.env)):
        words += ["--env", name]  # its value goes from environment to environment
    # The container runs the script alone, not the entry point of the image.
    words += ["--workdir", "/", "--entrypoint", "bash"]
    return (*words, str(job.image), str(Path(job.results_dir) / SCRIPT_FILE))


def _sets(options: Options, name: str) -> bool:
    return any(text.partition("=")[0] == name for text in options.env)


def _limits(job: Job, options: Options) -> list[str]:
    words = []
    if job.resources.device == "cuda":
        words += ["--gpus", _devices(options.devices, job.resources.processes_per_node)]
        words += ["--ulimit", "memlock=-1"]  # NCCL pins memory
    if options.cpus is not None:
        words += ["--cpus", f"{options.cpus:g}"]
    if options.memory:
        words += ["--memory", options.memory, "--memory-swap", options.memory]  # without swap
    if options.ipc:
        words += ["--ipc", options.ipc]
    if options.ipc != "host":
        words += ["--shm-size", options.shm_size]
    return words


def _devices(devices: str | None, count: int) -> str:
    return str(count) if devices is None else _csv([f"device={devices}"])


def _mount_text(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    return _csv([*fields, "readonly"] if mount.read_only else fields)


def _csv(fields: list[str]) -> str:
    """Return the fields as Docker reads them: comma-separated, quoted where they hold a comma or a quote."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
