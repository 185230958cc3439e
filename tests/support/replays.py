"""Replays of a skill's evals: the commands that an agent who follows the skill runs, and the state that they leave.

An eval of `skills/*/evals/evals.json` may have a `replay`:

    world   what the machine holds, by names of `replay_worlds`
    steps   commands in order; each may have the exit `code` (0), texts that it `shows` or `hides`, values at dotted
            paths of its document (`has`), what to `keep` of the document for later steps, which write `$NAME`, and
            whether its output `counts` towards the bytes of a launch (true)
    end     what is left: `jobs` by state, whether the data is `unchanged`, how often engines were called (`calls`), at
            most how many `bytes` were printed
"""

import hashlib
import json
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from tao_skill_bank.core import nested

SKILLS = Path(__file__).parents[2] / "skills"
Call = Callable[[list[str]], tuple[int, str]]


@dataclass
class World:
    """The machine of a replay.

    Attributes:
        folder: its files; commands run here.
        names: what steps may write as `$NAME`.
        calls: returns the commands of an engine's shim that were called.

    """

    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    calls: Callable[[], list[str]] = list


@dataclass(frozen=True)
class Eval:
    """One eval of a skill, with its replay."""

    skill: str
    number: int
    prompt: str
    replay: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.skill}-{self.number}"


def evals() -> list[Eval]:
    """Return every eval of the bank that has a replay."""
    found = []
    for path in sorted(SKILLS.glob("*/evals/evals.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for number, entry in enumerate(document["evals"], start=1):
            if "replay" in entry:
                found.append(Eval(document["skill"], number, entry["prompt"], entry["replay"]))
    return found


def play(replay: dict[str, Any], world: World, call: Call) -> int:
    """Run the steps, check what each answers, and return how many bytes they printed."""
    printed = 0
    for step in replay["steps"]:
        line = Template(step["run"]).substitute(world.names)
        program, *words = shlex.split(line)
        assert program == "tao-skills", f"an agent needs no other program: {line}"
        code, text = call(words)
        printed += len(text.encode()) if step.get("counts", True) else 0
        assert code == step.get("code", 0), f"{line}\nended with {code}:\n{text}"
        _check_text(line, text, step, world.names)
        _check_document(line, text, step, world)
    return printed


def _check_text(line: str, text: str, step: dict[str, Any], names: dict[str, str]) -> None:
    for part in step.get("shows", ()):
        wanted = Template(part).safe_substitute(names)
        assert wanted in text, f"{line}\ndoes not show {wanted!r}:\n{text}"
    for part in step.get("hides", ()):
        assert Template(part).safe_substitute(names) not in text, f"{line}\nshows {part!r}:\n{text}"


def _check_document(line: str, text: str, step: dict[str, Any], world: World) -> None:
    if not step.keys() & {"has", "keep"}:
        return
    document = json.loads(text[text.index("{") : text.rindex("}") + 1])
    for path, value in step.get("has", {}).items():
        assert nested.get(document, path) == value, f"{line}\n{path} is {nested.get(document, path)!r}, not {value!r}"
    for name, path in step.get("keep", {}).items():
        world.names[name] = str(nested.get(document, path))


def check_end(end: dict[str, Any], world: World, state_dir: Path, before: str, printed: int) -> None:
    """Compare what a replay left behind with what its eval demands."""
    assert states(state_dir) == Counter(end.get("jobs", {}))
    if end.get("unchanged", True):
        assert fingerprint(world.folder / "DATA") == before, "the user's data was changed"
    for engine, count in end.get("calls", {}).items():
        found = [line for line in world.calls() if line.startswith(engine)]
        assert len(found) == count, found
    assert printed <= end.get("bytes", 40_000), f"{printed} bytes were printed"


def states(state_dir: Path) -> Counter[str]:
    """Return how many recorded jobs are in each state, those of the world before the replay left out."""
    found = Counter[str]()
    for path in (state_dir / "jobs").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not (state_dir / "before" / path.name).exists():
            found[record["transitions"][-1]["state"]] += 1
    return found


def note_jobs_before(state_dir: Path) -> None:
    """Remember the jobs of the world, which the replay did not launch."""
    with suppress(FileNotFoundError):
        shutil.copytree(state_dir / "jobs", state_dir / "before")


def fingerprint(folder: Path) -> str:
    """Return a hash of every file below a folder but those in `results`, which replays may write."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.hexdigest()
