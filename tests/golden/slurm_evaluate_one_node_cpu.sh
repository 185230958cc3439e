#!/usr/bin/env bash
#SBATCH --job-name=cosmos-rl-train-0123456789ab
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --time=30
#SBATCH --output='/results/a run/logs/job.log'
#SBATCH --open-mode=append
#SBATCH --no-requeue
# Job cosmos-rl-train-0123456789ab: rendered by tao-skill-bank for platform slurm. Output goes to logs/job.log.
set -euo pipefail
cd '/results/a run'
rm -f logs/exit_code  # of the run before a requeue

# The exit code is written whole or not at all, whatever ends the job short of SIGKILL.
record_exit_code() {
  local code=$?
  trap '' TERM INT HUP
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
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > 1 ? cores / 1 : 1))}"

export TAO_CONFIG='/results/a run/config/evaluate.toml'

srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=60 bash -c 'exec /venv/bin/python -m tao_skill_bank.training.launcher --standalone --nproc_per_node 1 -m tao_skill_bank.training.x --config "$TAO_CONFIG"'
