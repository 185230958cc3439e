"""Files of a run directory that are there and cannot be read: each is named, and what else is there stays readable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_text
from tao_skill_bank.runs import summaries
from tao_skill_bank.runs.run_directory import SKIPPED_FILE, RunDirectory

FIX = "Restore it from a copy, or run the action again; the rest is shown without it."
OBJECTS = ("metrics_summary.json", "best/best_score.json")
MAX_NAMED = 3
NAMES: dict[type, str] = {dict: "an object", list: "a list"}


def findings(run: RunDirectory) -> list[dict[str, str]]:
    """Return a warning for each file of a run that is not what its name promises."""
    wanted: list[tuple[Path, tuple[type, ...]]] = [(run.plan_file, (dict,)), (run.request_file, (dict,))]
    wanted += [(run.path / name, (dict,)) for name in OBJECTS]
    wanted += [(run.path / "results.json", (dict, list)), (run.path / SKIPPED_FILE, (list,))]
    faults = [(path, why) for path, kinds in wanted if (why := _fault(path, kinds))]
    faults += [(path, why) for path in (run.status_file, run.metrics_file) if (why := _fault_of_lines(path))]
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
        return f"it holds a {type(value).__name__}, not {' or '.join(NAMES[kind] for kind in kinds)}"
    entries = value.get("entries") if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return ""
    wrong = [entry for entry in entries if not isinstance(entry, dict)]
    return f"{len(wrong)} of {len(entries)} entries are not objects" if wrong and list in kinds else ""


def _value(path: Path) -> tuple[Any, str]:
    """Return the value of a JSON file, or None with the reason; None without one where there is no such file."""
    try:
        value = json_text.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, str(error.strerror or error)
    except ValueError as error:
        return None, f"it is not JSON ({' '.join(str(error).split())})"
    return value, "it holds null" if value is None else ""


def _fault_of_lines(path: Path) -> str:
    """Return how many lines are not objects; the last one may be half-written."""
    wrong, number = [], 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n") and not _is_object(line):
                    wrong.append(number)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error.strerror or error)
    shown = ", ".join(map(str, wrong[:MAX_NAMED])) + (", ..." if len(wrong) > MAX_NAMED else "")
    return f"{len(wrong)} of {number} lines are not JSON objects (line {shown})" if wrong else ""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json_text.loads(line), dict)
    except ValueError:
        return not line.strip()


def _lost_fields(path: Path) -> Iterator[str]:
    """Yield the fields of a summary that have another type than they should have."""
    value, _ = _value(path)
    document = value if isinstance(value, dict) else {}
    kept = summaries.plain(document)
    lost = [name for name in summaries.FORMS if document.get(name) and not kept.get(name)]
    if lost:
        yield f"{', '.join(lost)} {'has' if len(lost) == 1 else 'have'} another type than a summary's"
