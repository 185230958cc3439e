#!/usr/bin/env bash
#SBATCH --job-name=cosmos-rl-train-0123456789ab
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --time=10
#SBATCH --output='/results/a run/logs/job.log'
#SBATCH --open-mode=append
#SBATCH --signal=USR1@150
#SBATCH --requeue
# Job cosmos-rl-train-0123456789ab: rendered by tao-skill-bank for platform slurm. Output goes to logs/job.log.
set -euo pipefail
cd '/results/a run'
rm -f logs/exit_code  # of the run before a requeue

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
export TAO_DEVICE=cuda
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"  # fewer fragments between gradients

export TAO_CONFIG='/results/a run/config/train.toml'

srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=60 bash -c 'exec apptainer exec --nv --bind '"'"'/results/a run:/results/a run,/data:/data,/models:/models'"'"' registry/image:1 /opt/venv/bin/python -m tao_skill_bank.training.launcher --standalone --nproc_per_node 1 -m tao_skill_bank.training.x --config "$TAO_CONFIG"'
