"""A training module without torch: does what the `acts` of its config say, one after the other."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.02


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text())
    run, rank = Path(config["results_dir"]), os.environ.get("RANK", "0")
    (run / f"rank_{rank}.pid").write_text(str(os.getpid()))
    for act in config["acts"]:
        name, _, argument = act.partition(":")
        ACTS[name](run, argument)


def report(run, state, **extra):
    if os.environ.get("RANK", "0") == "0":
        with (run / "status.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "state": state, **extra}) + "\n")


def wait_for(run, name):
    while not (run / name).exists():
        time.sleep(POLL_SECONDS)


def show_environment(run, names):
    values = {name: os.environ.get(name) for name in names.split(",")}
    (run / "environment.json").write_text(json.dumps({**values, "cwd": str(Path.cwd()), "path": sys.path}))


def leave_orphan(run, _):
    """Start a process in a session of its own, as torchrun does with its ranks."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (run / "orphan.pid").write_text(str(child.pid))


def fail(run, cause):
    diagnosis = {"code": "test_failure", "cause": cause, "cure": "Change the acts."}
    report(run, "FAILURE", message="RuntimeError", diagnosis=diagnosis)
    sys.exit(1)


def save_on_signal(run, _):
    """Do what an interrupted training does."""

    def save(*_):
        diagnosis = {"code": "interrupted", "cause": "All of it is in step_7.", "cure": "train.resume=true"}
        report(run, "FAILURE", message=diagnosis["cause"], diagnosis=diagnosis)
        sys.exit(75)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, save)


ACTS = {
    "start": lambda run, _: report(run, "STARTED"),
    "step": lambda run, step: report(run, "RUNNING", step=int(step), total=10, message=f"step {step}"),
    "succeed": lambda run, _: report(run, "SUCCESS", message="done"),
    "fail": fail,
    "exit": lambda _run, code: sys.exit(int(code)),
    "say": lambda _run, text: print(text, flush=True),
    "wait_for": wait_for,
    "environment": show_environment,
    "allocate": lambda _run, mib: bytearray(int(mib) << 20),
    "leave_orphan": leave_orphan,
    "ignore_sigterm": lambda _run, _: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "save_on_signal": save_on_signal,
    "signal_self": lambda _run, name: os.kill(os.getpid(), signal.Signals[name]),
    "kill_self": lambda _run, _: os.kill(os.getpid(), signal.SIGKILL),
}

if __name__ == "__main__":
    main()
