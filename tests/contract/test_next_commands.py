"""Every command that a fix or `next` holds is run in the state that printed it, and leads on.

The states are real: a toy trainer's jobs and searches, which are killed, cancelled, fail, or belong to another machine.
"""

import io
import itertools
import json
import re
import shlex
import shutil
import signal
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer
from runs import eventually, make_job, make_record

from tao_skill_bank.cli import main
from tao_skill_bank.contracts import State
from tao_skill_bank.jobs import service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.platforms import processes

pytestmark = [pytest.mark.usefixtures("third_skill"), pytest.mark.slow]
SOURCES = Path(main.__file__).parent.parent
CHANGING = ("run", "retry", "cancel", "watch", "automl run", "automl resume", "data upload", "status --adopt")
NOT_USED_AS_IS = {"FOLDER", "COPY", "FILE", "DATA", "NAME", "SKILL", "ACTION", "..."}
NEVER_PRINTED = {"JOB"}  # whoever prints a fix for a job knows its id
USAGE = {"usage", "incomplete_request", "unknown_option", "internal_error"}
END = re.compile(r"(?<![.])[.;:,](\s|$)|\s[(]|\s(or|then|and)\s|[`\n]")
ELSEWHERE = re.compile(r"On \S+: tao-skills [^.]*[.]")  # what is to be run on another machine
STEPS = 4  # from an error to a command that answers


@dataclass
class World:
    """A folder with the state of a test, in which commands are run as the program runs them."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    executed: list[str] = field(default_factory=list)

    def answer(self, *words: object) -> dict:
        """Run a command in this process and return its JSON document."""
        arguments = [*map(str, words)]
        self.monkeypatch.setattr("sys.argv", ["tao-skills", *arguments])
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = main._run([*arguments, "--json"], as_json=True)
        assert "Traceback" not in err.getvalue(), (arguments, err.getvalue())
        if "--help" in arguments:
            return {"ok": code == 0, "code": code, "errors": [], "findings": [], "next": []}
        document = json.loads(out.getvalue())
        assert document["code"] == code, arguments
        return document

    def follow(self, document: dict, depth: int = 0) -> None:
        """Run every command that a document holds, each in the state of now."""
        for command in commands_in(document):
            if command in self.executed:
                continue
            self.executed.append(command)
            words = shlex.split(command)[1:]
            assert not NEVER_PRINTED & set(words), command
            if NOT_USED_AS_IS & set(words):
                assert verb_of(words), command
                continue
            with self.restored(words):
                found = self.answer(*[word for word in words if word != "--json"])
                assert not USAGE & {error["code"] for error in found["errors"]}, (command, found["errors"])
                assert found["ok"] or found["errors"] != document["errors"], f"{command} only repeats the error"
                assert found["ok"] or all(error["fix"] for error in found["errors"]), command
                if depth < STEPS:
                    self.follow(found, depth + 1)

    def restored(self, words: list[str]) -> "Restored":
        return Restored(self.root, is_needed=verb_of(words) in CHANGING or "--adopt" in words)


class Restored:
    """Puts the files back as they were before a command that changes them."""

    def __init__(self, root: Path, *, is_needed: bool) -> None:
        self.root, self.copy, self.is_needed = root, root.with_name(f"{root.name}-{time.monotonic_ns()}"), is_needed

    def __enter__(self) -> None:
        if self.is_needed:
            shutil.copytree(self.root, self.copy, symlinks=True)

    def __exit__(self, *_: object) -> None:
        if self.is_needed:  # the folder itself stays: it is the current one
            for path in self.root.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            for path in self.copy.iterdir():
                path.rename(self.root / path.name)


def commands_in(document: dict) -> list[str]:
    """Return the commands that a document tells its reader to run, in order."""
    texts = [*document["next"], *(error["fix"] for error in document["errors"])]
    texts += [found["fix"] for found in document["findings"]]
    texts += [entry["cure"] for entry in document.get("diagnoses", ())]
    texts += [document["message"]] if "tao-skills" in str(document.get("message")) else []
    found = []
    for text in texts:
        for part in ELSEWHERE.sub("", text).split("tao-skills ")[1:]:
            end = None if text in document["next"] else END.search(part)
            found.append(f"tao-skills {part[: end.start()] if end else part}".strip())
    return list(dict.fromkeys(found))


def verb_of(words: list[str]) -> str:
    """Return the command that words begin with; empty where there is none."""
    known = [*itertools.chain(*main.COMMANDS.values()), *groups()]
    return next((name for name in (" ".join(words[:2]), words[0]) if name in known), "")


def groups() -> list[str]:
    root = typer.main.get_command(main.app)
    return [f"{group} {name}" for group in main.GROUPS for name in root.commands[group].commands]


@pytest.fixture
def world(tmp_path, monkeypatch, state_dir):
    root = tmp_path / "world"
    root.mkdir()
    (root / "state").mkdir()
    (root / "state" / "cache").symlink_to(state_dir / "cache")
    monkeypatch.setenv("TAO_STATE_DIR", str(root / "state"))
    monkeypatch.chdir(root)
    yield World(root, monkeypatch)
    monkeypatch.setenv("TAO_STATE_DIR", str(root / "state"))
    for record in JobStore().live():
        for process in processes.of_job(record.id):
            process.kill()


# --- states -------------------------------------------------------------------------------------------------------

PLAIN = ("toy", "train", "--automl-policy", "off", "--results-dir", "run")
SEARCH = ("toy", "train", "--automl", "max_trials=1", "--results-dir", "run")


def kill(job_id):
    for process in processes.of_job(job_id):
        process.kill()
    while processes.of_job(job_id):
        time.sleep(0.01)


def waiting(world, *words):
    """Launch a job whose trainer waits after its first epoch."""
    document = world.answer("run", *words, "--set", f"train.gate={world.root / 'gate'}", "--detach")
    eventually(lambda: service.status(document["job_id"]).state is State.RUNNING)
    return document


def finished(world):
    return [world.answer("run", *PLAIN)]


def failed(world):
    return [world.answer("run", *PLAIN, "--set", "train.fails_above_lr=1e-9")]


def killed(world):
    job = waiting(world, *PLAIN)["job_id"]
    kill(job)
    (world.root / "gate").touch()
    return [world.answer(verb, job) for verb in ("status", "watch", "diagnose", "cancel")]


def interrupted(world):
    """A signal from outside: the trainer saves itself and ends with 75."""
    job = waiting(world, *PLAIN)["job_id"]
    (trainer,) = [each for each in processes.of_job(job) if "tao_skill_bank.models.toy.train" in each.cmdline()]
    trainer.send_signal(signal.SIGUSR1)
    (world.root / "gate").touch()
    assert service.JobHandle(job).wait(60).is_interrupted
    return [world.answer(verb, job) for verb in ("status", "watch", "diagnose", "cancel")]


def cancelled(world):
    job = waiting(world, *PLAIN)["job_id"]
    (world.root / "gate").touch()
    return [world.answer("cancel", job), *(world.answer(verb, job) for verb in ("watch", "retry", "diagnose"))]


def running(world):
    document = waiting(world, *PLAIN)
    job = document["job_id"]
    refused = [world.answer("retry", job), world.answer("run", *PLAIN), world.answer("data", "upload", job)]
    (world.root / "gate").touch()  # so that whatever watches it ends
    return [*refused, document]


def after_the_end(world):
    """Return what is refused of a finished job."""
    job = world.answer("run", *PLAIN)["job_id"]
    verbs = [("cancel", job), ("retry", job), ("automl", "status", job), ("data", "upload", job), ("diagnose", job)]
    answers = [world.answer(*words) for words in verbs]
    answers += [world.answer("status", job, "--adopt"), world.answer("cancel", job, "--close")]
    answers += [world.answer("run", *PLAIN), world.answer("run", *PLAIN, "--automl-policy", "auto")]
    return [*answers, world.answer("plan", "toy", "train", "--automl-policy", "off", "--parent", job)]


def run_directory_gone(world):
    job = world.answer("run", *PLAIN)["job_id"]
    shutil.rmtree(world.root / "run")
    parent = ("plan", "toy", "train", "--automl-policy", "off", "--parent", job)
    return [world.answer(*words) for words in (("report", job), parent, ("retry", job), ("watch", job))]


def plans(world):
    sealed = world.root / "plan.json"
    answers = [world.answer("plan", *PLAIN, "--out", sealed), world.answer("run", "--plan", sealed)]
    answers += [world.answer("run", "--plan", sealed)]  # it ran already
    sealed.write_text(sealed.read_text().replace('"epoch": 4', '"epoch": 5'))
    answers += [world.answer("run", "--plan", sealed), world.answer("run", "--plan", world.root / "run" / "plan.json")]
    answers += [world.answer("plan", "toy", "train", "--automl-policy", "off"), world.answer("validate", *PLAIN)]
    return [*answers, world.answer("run", "--plan", "nowhere.json")]


def mistakes(world):
    words = [
        ("plan", "toyy", "train"),
        ("plan", "toy", "trane"),
        ("plan", "toy", "train", "--set", "train.epcoh=3"),
        ("plan",),
        ("preflight", *PLAIN, "--set", "train.resume=true"),
        ("plan", "toy", "train", "--parent", "toy-train-000000000000"),
        ("status", "toy-train-000000000000"),
        ("automl", "best", "toy-train-000000000000"),
        ("show", "tao-finetune-cosmos-reason"),
        ("list",),
        ("models", "resolve", "nothing-like-it"),
        ("data", "sample", "vlm", "--out", "sample"),
        ("plan", "tao-finetune-cosmos-reason", "train", "--train", "/nowhere", "--option", "device=cpu"),
    ]
    return [world.answer(*each) for each in words]


def finished_search(world):
    job = world.answer("automl", "run", *SEARCH)["job_id"]
    verbs = [("automl", "status"), ("automl", "best"), ("automl", "resume"), ("cancel",), ("watch",), ("retry",)]
    answers = [world.answer(*verb, job) for verb in verbs]
    (found,) = [record for record in JobStore().all() if record.id != job]
    answers += [world.answer("plan", *PLAIN), world.answer("run", *PLAIN)]
    answers += [world.answer("plan", *PLAIN, "--set", "train.resume=true"), world.answer("run", *SEARCH)]
    return [*answers, world.answer("watch", found.id), world.answer("retry", found.id)]


def failed_search(world):
    document = world.answer("automl", "run", *SEARCH, "--set", "train.fails_above_lr=1e-9")
    job = document["job_id"]
    verbs = [("automl", "status"), ("automl", "best"), ("watch",), ("retry",), ("diagnose",)]
    parent = ("plan", "toy", "train", "--automl-policy", "off", "--parent", job)
    return [document, *(world.answer(*verb, job) for verb in verbs), world.answer(*parent)]


def cancelled_search(world):
    job = waiting(world, *SEARCH)["job_id"]
    refused = [world.answer("automl", "resume", job), world.answer("automl", "best", job), world.answer("run", *SEARCH)]
    assert all(not document["ok"] or document["next"] for document in refused)
    answers = [world.answer("cancel", job)]
    (world.root / "gate").touch()
    verbs = [("automl", "status"), ("automl", "best"), ("watch",), ("diagnose",), ("retry",), ("cancel",)]
    return [*answers, *(world.answer(*verb, job) for verb in verbs), world.answer("run", *PLAIN)]


def killed_search(world):
    job = waiting(world, *SEARCH)["job_id"]
    kill(job)
    (world.root / "gate").touch()
    for record in JobStore().live():
        service.JobHandle(record.id).wait(60)
    verbs = [("status",), ("automl", "status"), ("watch",), ("diagnose",), ("retry",)]
    return [world.answer(*verb, job) for verb in verbs]


def of_another_machine(world):
    reference = {"pid": 2**22 + 1, "start_time": 1.0, "host": "old-name", "grace_seconds": 5.0}
    record = make_record(make_job(world.root / "run"), backend_ref=reference)
    JobStore().create(record)
    (world.root / "run").mkdir()
    (world.root / "run" / "plan.json").write_text("{}")
    return [world.answer("status", record.id), world.answer("cancel", record.id)]


def of_a_gone_cluster(world):
    world.monkeypatch.setenv("PATH", str(world.root))
    record = make_record(make_job(world.root / "run"), platform="slurm", backend_ref={"slurm_job_id": 7})
    JobStore().create(record)
    return [world.answer("cancel", record.id), world.answer("status", record.id)]


STATES = (
    *(finished, failed, killed, interrupted, cancelled, running, after_the_end, run_directory_gone, plans, mistakes),
    *(finished_search, failed_search, cancelled_search, killed_search, of_another_machine, of_a_gone_cluster),
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_command_that_a_state_prints_leads_on(world, state):
    documents = state(world)
    assert any(commands_in(document) for document in documents)
    for document in documents:
        assert document["ok"] or all(error["fix"] for error in document["errors"]), document
        world.follow(document)


def test_every_command_in_the_sources_exists():
    texts = [path.read_text(encoding="utf-8") for path in SOURCES.rglob("*") if path.suffix in (".py", ".yaml")]
    found = {
        verb for text in texts for verb in re.findall(r"tao-skills ((?:[a-z-]+ )?[a-z-]+)(?=[ `\"'.,;:)]|$)", text)
    }
    said = {name for name in found if name.split()[0] not in ("validates", "redact")}
    assert len(said) > 20
    unknown = {name for name in said if not verb_of(name.split())}
    assert unknown <= {*main.GROUPS, "bank", "skill"}, unknown
