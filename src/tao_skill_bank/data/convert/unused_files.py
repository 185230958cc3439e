"""Files of a dataset's folder that a conversion did not read."""

import os
from pathlib import Path

from tao_skill_bank.data.convert.notes import Notes


def note(root: Path, notes: Notes) -> None:
    """Note the files below `root` that were not used, grouped by their top folder and ending."""
    for parent, folders, files in os.walk(os.path.abspath(root)):  # noqa: PTH100 - links are not followed
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent) / name
            if str(path) in notes.used or name.startswith("."):
                continue
            relative = path.relative_to(Path(root).absolute())
            top = f"{relative.parts[0]}/" if len(relative.parts) > 1 else ""
            notes.leave_out(f"files {top}*{path.suffix}" if path.suffix else f"file {relative}", first=str(relative))
