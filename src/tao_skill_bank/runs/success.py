"""Whether a training that wrote its last checkpoint also reported its success, or was killed in between."""

from pathlib import Path

from tao_skill_bank.runs.checkpoint_folders import PROGRESS_FILE
from tao_skill_bank.runs.run_directory import epoch_seconds, json_lines

CLOCK_SECONDS = 1.0  # status lines and files differ by rounding


def is_missing(run_dir: Path, checkpoint: Path) -> bool:
    """Return whether a job of a run directory wrote this checkpoint there and none has reported success since.

    Where no job has reported anything, nothing says that one was killed.
    """
    if checkpoint.absolute().parent != run_dir.absolute() / "checkpoints":
        return False
    try:
        written = (checkpoint / PROGRESS_FILE).stat().st_mtime
    except OSError:
        return False
    files = [run_dir / "status.jsonl", *(run_dir / "logs").glob("*.status.jsonl")]
    lines = [line for path in files for line in json_lines(path)]
    successes = [epoch_seconds(line.get("time")) for line in lines if line.get("state") == "SUCCESS"]
    return bool(lines) and not any(moment is None or moment >= written - CLOCK_SECONDS for moment in successes)
