"""Docker's command as a shell script that says what a test puts into files: the edge of the machine, nothing more."""

import json
import shlex
from pathlib import Path

SCRIPT = """\
#!/bin/sh
# Says the first reply that is left for the words it is called with, or the last one again.
cd {folder}
printf '%s\\n' "docker $*" >> calls
env > "environment"
case "$1" in --host | --context) shift 2 ;; esac
name=$1
case "$1" in container | image | network | context) name="$1 $2" ;; esac
reply=$(ls -d "$name".reply.* 2> /dev/null | head -n 1)
[ -n "$reply" ] || exit 0
[ "$(ls -d "$name".reply.* | wc -l)" = 1 ] || trap 'rm -r "$reply"' EXIT
cat "$reply/stdout"
cat "$reply/stderr" >&2
exit "$(cat "$reply/code")"
"""
CONTAINER = "0123456789abcdef" * 4


class FakeDocker:
    """What each command of docker answers, in order; the last answer is said again and again."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        path = folder / "bin" / "docker"
        path.write_text(SCRIPT.format(folder=shlex.quote(str(folder))))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.count = 0
        self.says("context inspect", "default unix:///var/run/docker.sock\n")

    def says(self, name, stdout="", *, stderr="", code=0):
        self.count += 1
        reply = self.folder / f"{name}.reply.{self.count:03d}"
        reply.mkdir()
        (reply / "stdout").write_text(stdout)
        (reply / "stderr").write_text(stderr)
        (reply / "code").write_text(str(code))

    def has(self, status, name="", **state):
        """Let the daemon have a container in this state."""
        state = {"Status": status, "ExitCode": 0, "OOMKilled": False, "Error": "", "FinishedAt": "", **state}
        labels = {"tao-skill-bank.job": name} if name else None
        self.says(
            "container inspect", json.dumps([{"Id": CONTAINER, "State": state, "Config": {"Labels": labels}}]) + "\n"
        )

    def has_none(self):
        self.says("container inspect", "[]\n", stderr="Error response from daemon: No such container: x", code=1)

    def calls(self, words=""):
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"docker {words}".rstrip())]

    def environment(self):
        """Return what the last call found in its environment."""
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
