#!/usr/bin/env bash
#SBATCH --job-name=cosmos-rl-train-0123456789ab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=1-00:00:00
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --qos=high
#SBATCH --constraint=h100|h200
#SBATCH --exclude=n[3-4]
#SBATCH --output='/results/a run/logs/job.log'
#SBATCH --open-mode=append
#SBATCH --signal=USR1@300
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
  # Interrupted, nothing is lost: the same job resumes from there.
  if [[ $code == 75 && ! -e logs/cancel_requested && ${SLURM_RESTART_COUNT:-0} -lt 10 ]]; then
    scontrol requeue "$SLURM_JOB_ID" || echo "This job could not be requeued." >&2
  fi
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
if [[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]] && compgen -G 'checkpoints/*' > /dev/null; then
  export TAO_CONFIG='/results/a run/config/train.restart.toml'
fi
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=24491  # derived from the job's id; the next one where something listens
while (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
export TAO_RENDEZVOUS="${hosts[0]}:$port"

srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task=64 --kill-on-bad-exit=0 --wait=60 bash -c 'exec /venv/bin/python -m tao_skill_bank.training.fetch hf_model://ORG/NAME /state/models/NAME'
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=64 --kill-on-bad-exit=0 --wait=60 bash -c 'exec /venv/bin/python -m tao_skill_bank.training.launcher --nnodes 2 --node_rank "$SLURM_NODEID" --rdzv_backend c10d --rdzv_id cosmos-rl-train-0123456789ab --rdzv_endpoint "$TAO_RENDEZVOUS" --nproc_per_node 8 -m tao_skill_bank.training.x --config "$TAO_CONFIG"'
