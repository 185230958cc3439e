"""A sealed plan to the sbatch script that runs it. Pure."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tao_skill_bank.contracts import Job, Plan
from tao_skill_bank.core import nested
from tao_skill_bank.platforms import script, torchrun
from tao_skill_bank.platforms.slurm import options as slurm_options
from tao_skill_bank.platforms.slurm.options import Options
from tao_skill_bank.platforms.torchrun import Rendezvous
from tao_skill_bank.spec import config_files

SCRIPT_FILE = "launch.sh"
RESTART_SUFFIX = ".restart"
MAX_RESTARTS = 10
FIRST_PORT, NUM_PORTS = 20000, 12000  # below what Linux gives to outgoing connections
# A node whose peers have failed may wait for them until a collective times out; one that saves itself needs a moment.
WAIT_SECONDS = 60

SCRIPT = """\
#!/usr/bin/env bash
{directives}
# Job {job_id}: rendered by tao-skill-bank for platform slurm. Output goes to logs/job.log.
set -euo pipefail
cd {results_dir}
rm -f logs/exit_code  # of the run before a requeue

{record_exit_code}
{environment}
{config}{rendezvous}
{commands}"""

REQUEUE = """\
  # Interrupted, nothing is lost: the same job resumes from there.
  if [[ $code == 75 && ! -e logs/cancel_requested && ${{SLURM_RESTART_COUNT:-0}} -lt {max_restarts} ]]; then
    scontrol requeue "$SLURM_JOB_ID" || echo "This job could not be requeued." >&2
  fi
"""
RESTART = """\
if [[ ${{SLURM_RESTART_COUNT:-0}} -gt 0 ]] && compgen -G 'checkpoints/*' > /dev/null; then
  export TAO_CONFIG={config_file}
fi
"""
RENDEZVOUS = """\
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port={port}  # derived from the job's id; the next one where something listens
while (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
export TAO_RENDEZVOUS="${{hosts[0]}}:$port"
"""


def files(plan: Plan, options: Options) -> dict[str, str]:
    """Return the script, and the config of a restart where the training can resume from its checkpoint."""
    job = plan.job
    rendered = {SCRIPT_FILE: _script_text(plan, options)}
    if restart_file := _restart_file(job, options):
        assert job.resume_key is not None
        rendered[restart_file] = config_files.text(restart_file, nested.with_value(job.config, job.resume_key, True))
    return rendered


def request(job: Job, options: Options) -> list[str]:
    """Return what sbatch is asked for, as its flags: everything but its output, signals and restarts."""
    resources = job.resources
    values = {
        "job-name": job.id,
        "nodes": resources.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": resources.processes_per_node if _counts_gpus(job, options) else None,
        "cpus-per-task": options.cpus_per_task,
        "mem": options.mem,
        "time": options.time_limit,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "exclude": options.exclude,
        "nodelist": options.nodelist,
        "reservation": options.reservation,
        "licenses": options.licenses,
        "gres": options.gres,
    }
    return [*(f"--{name}={value}" for name, value in values.items() if value is not None), *options.extra]


def _counts_gpus(job: Job, options: Options) -> bool:
    """Return whether GPUs are asked for by number: not where --gres names them, which would ask twice."""
    return job.resources.device == "cuda" and not slurm_options.names_gpus(options.gres)


def _script_text(plan: Plan, options: Options) -> str:
    job = plan.job
    results_dir = job.results_dir.replace("%", "%%")  # sbatch replaces %j and its like
    directives = [
        *request(job, options),
        f"--output={shlex.quote(results_dir + '/logs/job.log')}",
        "--open-mode=append",
    ]
    if job.workload.trains:
        directives.append(f"--signal=USR1@{options.save_seconds}")
    directives.append("--requeue" if options.requeue else "--no-requeue")
    restart_file = _restart_file(job, options)
    config = f"export TAO_CONFIG={shlex.quote(str(Path(job.results_dir, job.config_file)))}\n"
    if restart_file:
        config += RESTART.format(config_file=shlex.quote(str(Path(job.results_dir, restart_file))))
    afterwards = REQUEUE.format(max_restarts=MAX_RESTARTS) if restart_file else ""
    return SCRIPT.format(
        directives="\n".join(f"#SBATCH {flag}" for flag in directives),
        job_id=job.id,
        results_dir=shlex.quote(job.results_dir),
        record_exit_code=script.record_exit_code(
            plan, afterwards=afterwards, python=options.python, line_of=partial(_upload_line, job, options)
        ),
        environment=script.environment(plan),
        config=config,
        rendezvous=RENDEZVOUS.format(port=_port(job.id)) if _meets(job) else "",
        commands="".join(f"{line}\n" for line in _commands(job, options)),
    )


def _restart_file(job: Job, options: Options) -> str | None:
    if job.resume_key is None or not options.requeue:
        return None
    path = Path(job.config_file)
    return str(path.with_name(f"{path.stem}{RESTART_SUFFIX}{path.suffix}"))


def _meets(job: Job) -> bool:
    return job.distributed and job.resources.nodes > 1


def _port(job_id: str) -> int:
    return FIRST_PORT + int(job_id.rpartition("-")[2], 16) % NUM_PORTS


def _commands(job: Job, options: Options) -> list[str]:
    """Return one srun for each fetch, on one node, and one for the job, on all of them."""
    fetch = (options.python, "-m", "tao_skill_bank.training.fetch")
    lines = [_srun(job, options, 1, shlex.join((*fetch, uri, folder))) for uri, folder in job.fetches]
    rendezvous = Rendezvous("$TAO_RENDEZVOUS", "$SLURM_NODEID") if _meets(job) else None
    *command, _ = torchrun.command(job, python=options.python, rendezvous=rendezvous)  # ends with the config
    on_node = script.line_of((*command, "$TAO_CONFIG"))
    return [*lines, _srun(job, options, job.resources.nodes, on_node)]


def _upload_line(job: Job, options: Options, words: Sequence[str]) -> str:
    """Return the upload command: as it is, or in the job's container if the interpreter is in there."""
    line = shlex.join(words)
    return _srun(job, options, 1, line).replace("srun ", "srun --overlap ", 1) if options.container else line


def _srun(job: Job, options: Options, nodes: int, on_node: str) -> str:
    """Return the line that runs a shell command once on each of `nodes` nodes."""
    words = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    if options.cpus_per_task:
        words.append(f"--cpus-per-task={options.cpus_per_task}")  # srun does not inherit it from sbatch
    words += ["--kill-on-bad-exit=0", f"--wait={WAIT_SECONDS}"]
    mounts = [f"{folder}:{folder}" for folder in (job.results_dir, *options.mounts)]
    if options.container == "pyxis":
        words += [f"--container-image={job.image}", f"--container-mounts={','.join(mounts)}"]
    if options.container == "apptainer":
        gpus = ("--nv",) if job.resources.device == "cuda" else ()
        outer = ("apptainer", "exec", *gpus, "--bind", ",".join(mounts), str(job.image))
        on_node = f"{shlex.join(outer)} {on_node}"
    return shlex.join([*words, "bash", "-c", f"exec {on_node}"])
