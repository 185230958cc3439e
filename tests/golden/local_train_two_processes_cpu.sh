#!/usr/bin/env bash
# Job cosmos-rl-train-0123456789ab: rendered by tao-skill-bank for platform local. Output goes to logs/job.log.
set -euo pipefail
cd '/results/a run'

# The exit code is written whole or not at all, whatever ends the job short of SIGKILL.
record_exit_code() {
  local code=$?
  trap '' TERM INT HUP
  # A signal that came before the trainer listened: nothing is lost, and a resumed run begins at step 0.
  if [[ $code == 138 || $code == 143 ]] && ! grep -qs '"state": "RUNNING"' status.jsonl; then code=75; fi
  printf '%s\n' "$code" > logs/.exit_code.partial
  sync logs/.exit_code.partial
  mv -f logs/.exit_code.partial logs/exit_code
}
trap record_exit_code EXIT
trap 'code=$?; exit $((code ? code : 143))' TERM INT HUP  # the code of what was signaled with this script
trap : USR1  # it is for the trainer, which saves itself and ends

export TAO_JOB_ID=cosmos-rl-train-0123456789ab
export PYTHONUNBUFFERED=1
export PYTHONSAFEPATH=1  # the run directory is no place to import from
export TOKENIZERS_PARALLELISM=false
export TORCHINDUCTOR_CACHE_DIR="${TORCHINDUCTOR_CACHE_DIR:-${TAO_STATE_DIR:-${HOME:-/tmp}/.tao}/cache/inductor}"
export TAO_DEVICE=cpu
export CUDA_VISIBLE_DEVICES=""
cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > 2 ? cores / 2 : 1))}"

PYTHON -m tao_skill_bank.training.fetch builtin://tiny-cosmos-reason /state/models/tiny-cosmos-reason
PYTHON -m tao_skill_bank.training.launcher --standalone --nproc_per_node 2 -m tao_skill_bank.training.x --config '/results/a run/config/train.json'
