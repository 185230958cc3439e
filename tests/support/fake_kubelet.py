"""What runs the pods of the fake API server: real processes of this machine, or real containers."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
TERMINATION_LOG = "/dev/termination-log"
POD_MODULE = "tao_skill_bank.training.pod"


def stamp():
    """Return the time as a kubelet stamps a line of a log."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


class Running:
    """A started container: its log, and how it ends."""

    def __init__(self, pod, process, message_file):
        self.pod, self.process, self.message_file = pod, process, message_file
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(f"{stamp()} {line.decode(errors='replace').rstrip()}")

    @property
    def exit_code(self):
        code = self.process.poll()
        if code is None:
            return None
        self._reader.join(timeout=2)
        return 128 - code if code < 0 else code

    @property
    def message(self):
        if self.message_file.is_file() and (text := self.message_file.read_text()):
            return text
        return "\n".join(line.partition(" ")[2] for line in self.lines[-20:])  # FallbackToLogsOnError


class RunningProcess(Running):
    def terminate(self):
        """Signal the pod's first process, as a kubelet does, and no other."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)

    def kill(self):
        """End every process of the pod."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TAO_POD_UID") == self.pod.uid:
                    process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class RunningContainer(Running):
    def terminate(self):
        subprocess.run(["docker", "kill", "--signal", "TERM", self.pod.name], capture_output=True, check=False)

    def kill(self):
        subprocess.run(["docker", "rm", "--force", self.pod.name], capture_output=True, check=False)


class ProcessRunner:
    """A pod is a process in a session of its own. Its volumes are folders, and the paths in its script name those."""

    def __init__(self, folder, environment=None):
        self.folder = folder
        self.environment = environment or {}

    def start(self, pod):
        folder = self.folder / pod.name
        script = pod.write_volumes(folder)
        replaced = {
            pod.mount_path: str(folder),
            f"-m {POD_MODULE}": f"-m {POD_MODULE} --termination-log {folder / 'termination-log'}",
            **dict.fromkeys(pod.host_names, "127.0.0.1"),
        }
        text = script.read_text()
        for old, new in replaced.items():
            text = text.replace(old, new)
        script.write_text(text)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "support")])
        environment = {
            **kept,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            **self.environment,
            **pod.environment("127.0.0.1"),
        }
        process = subprocess.Popen(
            ["bash", str(script)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
        )  # fmt: skip
        return RunningProcess(pod, process, folder / "termination-log")

    def close(self):
        pass


class ContainerRunner:
    """A pod is a container of a docker daemon. Its image has no programs: this machine's are mounted, at their paths.

    The containers share the network of the machine, so that the daemon needs none, and know each other by name.
    """

    def __init__(self, folder, image, shared, environment=None):
        self.folder, self.image, self.shared = folder, image, shared
        self.environment = environment or {}

    def start(self, pod):
        folder = self.folder / pod.name
        pod.write_volumes(folder)
        message_file = folder / "termination-log"
        message_file.touch()
        mounts = [f"{folder}:{pod.mount_path}:ro", f"{message_file}:{TERMINATION_LOG}", f"{self.shared}:{self.shared}"]
        mounts += [f"{path}:{path}:ro" for path in _program_folders()]
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "support")])
        environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **self.environment, **pod.environment("127.0.0.1")}
        words = ["docker", "run", "--name", pod.name, "--network", "host", "--ipc", "private", "--shm-size", "64m"]
        words += [
            word for name in (socket.gethostname(), *pod.host_names) for word in ("--add-host", f"{name}:127.0.0.1")
        ]
        words += [word for mount in mounts for word in ("--volume", mount)]
        words += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        process = subprocess.Popen(
            [*words, self.image, *pod.command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        return RunningContainer(pod, process, message_file)

    def close(self):
        pass


def _program_folders():
    """Return what a container needs of this machine to run its Python: programs, environment, interpreter, sources."""
    found = {Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), ROOT / "src", ROOT / "tests" / "support"}
    return sorted(str(path) for path in found if path == Path("/usr") or not path.is_relative_to("/usr"))
