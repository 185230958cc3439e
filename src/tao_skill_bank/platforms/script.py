"""The common parts of the platforms' launch scripts: the job's environment, and the recorded exit code."""

import shlex
import sys
from collections.abc import Callable, Sequence

from tao_skill_bank.contracts import Plan
from tao_skill_bank.platforms import processes

# An EXIT trap of a script whose folder is the run directory.
RECORD_EXIT_CODE = """\
# The exit code is written whole or not at all, whatever ends the job short of SIGKILL.
record_exit_code() {{
  local code=$?
  trap '' TERM INT HUP
{on_signal}  printf '%s\\n' "$code" > logs/.exit_code.partial
  sync logs/.exit_code.partial
  mv -f logs/.exit_code.partial logs/exit_code
{afterwards}}}
trap record_exit_code EXIT
trap 'code=$?; exit $((code ? code : 143))' TERM INT HUP  # the code of what was signaled with this script
trap : USR1  # it is for the trainer, which saves itself and ends
"""
INTERRUPTED_AT_START = """\
  # A signal that came before the trainer listened: nothing is lost, and a resumed run begins at step 0.
  if [[ $code == 138 || $code == 143 ]] && ! grep -qs '"state": "RUNNING"' status.jsonl; then code=75; fi
"""
STATE_FROM_EXIT_CODE = """\
  # The image's own program writes no status.jsonl: how it ended is all that is known of it.
  if [[ $code == 0 ]]; then
    printf '{{"time": %s, "state": "SUCCESS", "message": "%s ended well."}}\\n' "$(date +%s)" {program} >> status.jsonl
  fi
"""
UPLOAD_THE_REST = """\
  # The results are whole here; should the upload fail, logs/upload.json says so, and it can be made good later.
  if [[ -n ${{uploader:-}} ]]; then kill "$uploader" 2> /dev/null; wait "$uploader"; fi 2> /dev/null || true
  {upload} || true
"""
UPLOAD = """\
{upload} &  # what is whole, as it appears
uploader=$!
"""
EXPRESSIONS = ("$TAO_RENDEZVOUS", "$TAO_CONFIG", "$SLURM_NODEID", "$JOB_COMPLETION_INDEX")  # known where it runs
GPU_ENVIRONMENT = """\
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"  # fewer fragments between gradients
"""
CPU_ENVIRONMENT = """\
export CUDA_VISIBLE_DEVICES=""
cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-$((cores > {processes} ? cores / {processes} : 1))}}"
"""


def record_exit_code(
    plan: Plan,
    *,
    afterwards: str = "",
    python: str = sys.executable,
    line_of: Callable[[Sequence[str]], str] = shlex.join,
) -> str:
    """Return the shell lines that leave logs/exit_code, and upload the run directory where results are remote.

    Args:
        plan: of the job.
        afterwards: lines that know the exit code as $code.
        python: the interpreter that uploads.
        line_of: makes a shell line of a command, where the script itself runs elsewhere than the job.

    """
    on_signal = INTERRUPTED_AT_START if plan.job.workload.trains else ""
    if plan.job.command:
        on_signal = STATE_FROM_EXIT_CODE.format(program=shlex.quote(plan.job.command[0]))
    if plan.job.results_uri is None:
        return RECORD_EXIT_CODE.format(on_signal=on_signal, afterwards=afterwards)
    upload = (python, "-P", "-m", "tao_skill_bank.staging.upload", plan.job.results_dir)
    afterwards += UPLOAD_THE_REST.format(upload=line_of((*upload, "--last")))
    return RECORD_EXIT_CODE.format(on_signal=on_signal, afterwards=afterwards) + UPLOAD.format(upload=line_of(upload))


def line_of(words: Sequence[str]) -> str:
    """Return a shell line of a command, in which only `EXPRESSIONS` are left to the shell that runs it."""
    return " ".join(f'"{word}"' if word in EXPRESSIONS else shlex.quote(word) for word in words)


def environment(plan: Plan, *, devices: str | None = None) -> str:
    """Return the shell lines that set a job's environment; `devices` are the GPUs it may see, all by default."""
    job = plan.job
    lines = (
        f"export {processes.JOB_VARIABLE}={shlex.quote(job.id)}\n"
        "export PYTHONUNBUFFERED=1\n"
        "export PYTHONSAFEPATH=1  # the run directory is no place to import from\n"
        "export TOKENIZERS_PARALLELISM=false\n"
        'export TORCHINDUCTOR_CACHE_DIR="'  # the next job finds what this one compiled
        '${TORCHINDUCTOR_CACHE_DIR:-${TAO_STATE_DIR:-${HOME:-/tmp}/.tao}/cache/inductor}"\n'
        f"export TAO_DEVICE={job.resources.device}\n"
    )
    at_once = 1 if plan.study is None else plan.study["parallel"]  # the trials of a search divide these
    if job.resources.device == "cpu":
        return lines + CPU_ENVIRONMENT.format(processes=job.resources.processes_per_node * at_once)
    chosen = f"export CUDA_VISIBLE_DEVICES={shlex.quote(devices)}\n" if devices is not None else ""
    return lines + chosen + GPU_ENVIRONMENT
