"""Stages of a request that are killed at a random event, and what must hold afterwards.

A `World` is a folder with a state directory and run directories of its own. `World.killed` runs a command, in which one
process of its group is killed; `settle` then waits until nothing moves, `recover` follows the commands that the
programs print, and each of them asserts what must hold: no false state, no orphan, no dead end.
"""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kill_supplies import Supplies
from runs import eventually

from tao_skill_bank.contracts import State
from tao_skill_bank.runs.run_directory import RunDirectory, last_json_line

SUPPORT = Path(__file__).parent
ORPHAN_SECONDS = 30.0  # of processes after every job has ended
SETTLE_SECONDS = 240.0
ROUNDS = 6  # commands that lead from a kill to the goal
COMMAND = re.compile(r"tao-skills [^;`\n]+")
FOLLOWED = ("retry", "automl")  # the others only show something
RESUME = re.compile(r"train\.resume=true")
RESUMED = ("--set", "train.resume=true")
OTHER_FOLDER = "Choose another results_dir"


@dataclass(frozen=True)
class Kill:
    """Which event is the last one of a process, how it ends, and which process of the group it is.

    Attributes:
        event: its number, from 1; 0 kills nobody.
        victim: a pattern of the command lines of which `pick` chooses one.
        within: a pattern of the paths whose events count.
        after: a path that must exist before events count.

    """

    event: int
    number: signal.Signals = signal.SIGKILL
    pick: int = 0
    victim: str = ""
    within: str = ""
    after: str = ""


@dataclass
class World:
    """A machine of its own, as far as programs see it, and what was run on it."""

    folder: Path
    environment: dict[str, str]
    supplies: Supplies
    heard: list[str] = field(default_factory=list)

    @property
    def kills(self) -> Path:
        return self.folder / "kills"

    def call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command line to its end, unharmed."""
        done = self._finish(self._start(words, self.environment))
        self.heard.append(f"{shlex.join(words)} -> {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done

    def killed(self, words: tuple[str, ...], kill: Kill) -> "subprocess.CompletedProcess[str]":
        """Run a command line, one process of whose group is killed."""
        self.kills.mkdir(exist_ok=True)
        (self.kills / "order.json").write_text(json.dumps(asdict(kill)))
        done = self._finish(self._start(words, {**self.environment, "TAO_KILLS": str(self.kills)}))
        self.heard.append(f"{shlex.join(words)} {kill} -> {done.returncode}\n{self.victim}\n{done.stderr[-1500:]}")
        return done

    @property
    def victim(self) -> str:
        """Return who was killed; empty where the command ended before."""
        path = self.kills / "killed.json"
        return path.read_text() if path.exists() else ""

    @property
    def events(self) -> int:
        path = self.kills / "events"
        return path.stat().st_size if path.exists() else 0

    def members(self) -> list[int]:
        """Return the processes that run with this world's state directory."""
        mark = f"TAO_STATE_DIR={self.environment['TAO_STATE_DIR']}\0".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _is_member(path, mark)]

    def jobs(self) -> list[dict]:
        """Return id, state, action and folder of every job, newest first."""
        found = json.loads(self.call("jobs", "--json", "--full", "--limit", "100").stdout)["jobs"]
        return [{**job, "job_id": job["id"], "state": job["transitions"][-1]["state"]} for job in found]

    def settle(self) -> list[dict]:
        """Wait until every job has ended; then no process may be left after ORPHAN_SECONDS."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            jobs = self.jobs()
            live = [job for job in jobs if not State(job["state"]).is_terminal]
            if not live:
                break
            assert time.monotonic() < deadline, f"{live} never ended; processes: {self.members()}"
            if not self.members():  # nothing runs: the next answer must say so
                last = [job for job in self.jobs() if not State(job["state"]).is_terminal]
                assert not last, f"{last}, but no process is left"
        eventually(lambda: not self.members(), seconds=ORPHAN_SECONDS)
        for job in jobs:
            self._require_true(job)
        return jobs

    def _require_true(self, job: dict) -> None:
        """Compare a job's state with what its program reported."""
        run = RunDirectory.of(job["results_dir"], job["job_id"])
        reported, code = last_json_line(run.status_file).get("state"), run.exit_code()
        if run.plan_document().get("job", {}).get("id") != job["job_id"]:
            return  # it never ran, and a later job did in its place
        if job["state"] == "COMPLETE":
            assert reported == "SUCCESS", f"{job} is COMPLETE, and its program reported {reported}"
        if reported == "SUCCESS" and code == 0:
            assert job["state"] == "COMPLETE", f"{job}, though its program succeeded"
        if job["state"] == "ERROR":
            assert (job["err_class"], code) != ("ERR_PROGRAM", None)

    def _start(self, words: tuple[str, ...], environment: dict[str, str]) -> "subprocess.Popen[str]":
        command = (
            [sys.executable, *words] if words[0].endswith(".py") else [sys.executable, "-m", "tao_skill_bank", *words]
        )
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment, **pipes)

    @staticmethod
    def _finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
        out, err = process.communicate(timeout=600)
        assert "Traceback" not in err or process.returncode < 0, err[-3000:]
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass(frozen=True)
class Stage:
    """A command that is killed, and what its user wants of it.

    Attributes:
        words: of a World, the command.
        check: raises where the goal is not reached, or was reached in a wrong way.
        prepare: makes what the command needs.
        folder: the run directory of the job that it launches, if any.
        finished: of a World, the pieces of work that are finished, with what changes where they are done again.
        victim, within, after: of its kills.
        events: how many it makes at least, for kills that are chosen without counting them.
        is_cheap: whether it takes seconds.
        reads_store: whether it needs an object store.

    """

    name: str
    words: Callable[[World], tuple[str, ...]]
    check: Callable[[World], None]
    prepare: Callable[[World], None] = lambda _: None
    folder: str = ""
    finished: Callable[[World], dict[str, Any]] = lambda _: {}
    victim: str = ""
    within: str = ""
    after: str = ""
    events: int = 0
    is_cheap: bool = True
    reads_store: bool = False

    def job(self, world: World) -> dict | None:
        """Return the newest job of this stage, by its folder in the world; None where it launches none."""
        start = str(world.folder / self.folder)
        own = (job for job in world.jobs() if self.folder and job["results_dir"].removesuffix("-again") == start)
        return next(own, None)


def events_of(world: World, stage: Stage) -> int:
    """Run a stage unharmed and return how many events it makes."""
    stage.prepare(world)
    done = world.killed(stage.words(world), Kill(0, victim=stage.victim, within=stage.within, after=stage.after))
    assert done.returncode == 0, done.stderr
    world.settle()
    stage.check(world)
    assert world.events > 0
    return world.events


def survive(world: World, stage: Stage, kill: Kill) -> bool:
    """Kill a stage, and reach its goal by what the programs print. Returns whether anything was killed."""
    stage.prepare(world)
    world.killed(stage.words(world), kill)
    if not world.victim:
        world.settle()
        return False
    try:
        world.settle()
        finished = stage.finished(world)
        _recover(world, stage, asks_first=kill.pick % 2 == 0)
        world.settle()
        stage.check(world)
        _require_once(world, stage, finished)
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n---\n".join(world.heard)) from None
    return True


def _require_once(world: World, stage: Stage, finished: dict[str, Any]) -> None:
    """Require that what was finished before the recovery was neither lost nor done again."""
    last = stage.finished(world)
    again = {name: (value, last.get(name)) for name, value in finished.items() if last.get(name) != value}
    assert not again, f"lost or done again: {again}"
    start = str(world.folder / stage.folder)
    jobs = [job for job in world.jobs() if stage.folder and job["results_dir"].removesuffix("-again") == start]
    complete = [job["job_id"] for job in jobs if job["state"] == "COMPLETE"]
    assert len(complete) <= 1, f"done more than once: {complete}"


def _recover(world: World, stage: Stage, *, asks_first: bool) -> None:
    """Do what a user does: ask for the state of the newest job and do as it says, or run the command again at once."""
    words = stage.words(world)
    if job := stage.job(world):
        if job["state"] == "COMPLETE":
            return
        if words[0].endswith(".py"):
            words = (*words, *RESUMED)
        elif asks_first:
            words = _next(world.call("status", job["job_id"], "--json").stdout, words)
    for _ in range(ROUNDS):
        done = world.call(*words)
        world.settle()
        if done.returncode == 0:
            return
        again = _next(done.stdout + done.stderr, words)
        assert again != words, f"a dead end: {shlex.join(words)}"
        words = again
    raise AssertionError(f"no way out within {ROUNDS} commands")


def _next(told: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that a message asks for, or the same one with what the message asks to change."""
    for found in COMMAND.findall(told):
        named = shlex.split(found.partition('"')[0].rstrip(".,) "))[1:]
        if named and named[0] in FOLLOWED:
            return tuple(named)
    if RESUME.search(told) and RESUMED[1] not in words:
        return (*words, *RESUMED)
    if OTHER_FOLDER in told and "--results-dir" in words:
        place = words.index("--results-dir") + 1
        return (*words[:place], f"{words[place]}-again", *words[place + 1 :])
    return words


def kill_of(stage: Stage, seed: int, events: int) -> Kill:
    """Return the kill of a seed: three of four are SIGKILL."""
    random_ = random.Random(f"{stage.name} {seed}")
    number = signal.SIGKILL if random_.random() < 0.75 else signal.SIGTERM
    return Kill(random_.randint(1, events), number, random_.randrange(1000), stage.victim, stage.within, stage.after)


def _is_member(path: Path, mark: bytes) -> bool:
    try:
        if mark not in path.read_bytes():
            return False
        return (path.parent / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def environment_of(folder: Path, bank: str, python_path: str) -> dict[str, str]:
    """Return the environment of a world, without the variables of a job that runs this."""
    paths = os.pathsep.join([str(SUPPORT / "killing"), str(SUPPORT), python_path])
    return {
        **os.environ,
        "PYTHONPATH": paths,
        "TAO_STATE_DIR": str(folder / "state"),
        "TAO_SKILL_BANK_PATH": bank,
        "OMP_NUM_THREADS": "1",
    }
