"""Slurm's commands as shell scripts that say what a test puts into files: the edge of the machine, nothing more."""

import shlex
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "sacctmgr", "ssh")
SCRIPT = """\
#!/bin/sh
# Says the first reply that is left, or the last one again.
cd {folder}
printf '%s\\n' "{name} $*" >> calls
reply=$(ls -d {name}.reply.* 2> /dev/null | head -n 1)
[ -n "$reply" ] || exit 0
[ "$(ls -d {name}.reply.* | wc -l)" = 1 ] || trap 'rm -r "$reply"' EXIT
cat "$reply/stdout"
cat "$reply/stderr" >&2
exit "$(cat "$reply/code")"
"""


class FakeSlurm:
    """What each command answers, in order; the last answer is said again and again."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for name in COMMANDS:
            path = folder / "bin" / name
            path.write_text(SCRIPT.format(folder=shlex.quote(str(folder)), name=name))
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.count = 0

    def says(self, name, stdout="", *, stderr="", code=0):
        self.count += 1
        reply = self.folder / f"{name}.reply.{self.count:03d}"
        reply.mkdir()
        (reply / "stdout").write_text(stdout)
        (reply / "stderr").write_text(stderr)
        (reply / "code").write_text(str(code))

    def calls(self, name=""):
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(name)]
