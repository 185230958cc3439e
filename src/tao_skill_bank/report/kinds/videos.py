"""Generated videos of several variants: the picture that compares them, and which videos there are."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.report.views import RunView

MAX_SHOWN = 40


def view(runs: Sequence[RunView]) -> dict[str, Any]:
    """Return the videos of the last evaluation: name, variant, file and prompt."""
    last = runs[-1]
    entries = last.evaluation.entries if last.evaluation else ()
    rows = [tuple(str(entry.get(key) or "–") for key in ("name", "variant", "video", "prompt")) for entry in entries]
    return {"rows": rows[:MAX_SHOWN], "num_videos": len(rows)}
