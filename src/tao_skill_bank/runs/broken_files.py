"""Files of a run directory that are there and cannot be read: each is named, and what else is there stays readable."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.runs import summaries
from tao_skill_bank.runs.run_directory import MAX_NAMED, SKIPPED_FILE, JsonLines, RunDirectory

FIX = "Restore it from a copy, or run the action again; the rest is shown without it."
OBJECTS = ("metrics_summary.json", "best/best_score.json")
NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


def findings(run: RunDirectory, read: Sequence[JsonLines]) -> list[dict[str, str]]:
    """Return a warning for each file of a run that is not what its name promises; `read` was read to its end."""
    wanted: list[tuple[Path, tuple[type, ...]]] = [(run.plan_file, (dict,)), (run.request_file, (dict,))]
    wanted += [(run.path / name, (dict,)) for name in OBJECTS]
    wanted += [(run.path / "results.json", (dict, list)), (run.path / SKIPPED_FILE, (list,))]
    faults = [(path, why) for path, kinds in wanted if (why := _fault(path, kinds))]
    faults += [(lines.path, why) for lines in read if (why := _fault_of_lines(lines))]
    faults += [(run.path / "metrics_summary.json", why) for why in _lost_fields(run.path / "metrics_summary.json")]
    return [_finding(path, why) for path, why in faults]


def _finding(path: Path, why: str) -> dict[str, str]:
    message = f"{path} cannot be read: {why}."
    return {"code": "run_file_broken", "severity": "warning", "message": message, "fix": FIX, "path": str(path)}


def _fault(path: Path, kinds: tuple[type, ...]) -> str:
    """Return why a JSON file does not hold one of the types; empty when it does or when there is none."""
    value, why = _value(path)
    if why or value is None:
        return why
    if not isinstance(value, kinds):
        return f"it holds {NAMES[type(value)]}, not {' or '.join(NAMES[kind] for kind in kinds)}"
    entries = value.get("entries") if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return ""
    wrong = [entry for entry in entries if not isinstance(entry, dict)]
    return f"{len(wrong)} of {len(entries)} entries are not objects" if wrong and list in kinds else ""


def _value(path: Path) -> tuple[Any, str]:
    """Return the value of a JSON file, or None with the reason; None without one where there is no such file."""
    try:
        value = json_reader.loads(regular_files.read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, str(error.strerror or error)
    except ValueError as error:
        return None, f"it is not JSON ({' '.join(str(error).split())})"
    return value, "it holds null" if value is None else ""


def _fault_of_lines(lines: JsonLines) -> str:
    """Return how many lines are not objects, or why they cannot be read; the last one may be half-written."""
    if lines.error or not lines.num_wrong:
        return lines.error
    shown = ", ".join(map(str, lines.first_wrong)) + (", ..." if lines.num_wrong > MAX_NAMED else "")
    return f"{lines.num_wrong} of {lines.num_lines} lines are not JSON objects (line {shown})"


def _lost_fields(path: Path) -> Iterator[str]:
    """Yield the fields of a summary that have another type than they should have."""
    value, _ = _value(path)
    document = value if isinstance(value, dict) else {}
    kept = summaries.plain(document)
    lost = [name for name in summaries.FORMS if document.get(name) and not kept.get(name)]
    if lost:
        yield f"{', '.join(lost)} {'has' if len(lost) == 1 else 'have'} another type than a summary's"
