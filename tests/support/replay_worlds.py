"""What the machine of a replay holds: sample data, with faults or without, finished jobs, and shims for engines."""

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import version_1
from fake_docker import FakeDocker
from fake_kubernetes import FakeKubernetes
from fake_slurm import FakeSlurm
from kubernetes_jobs import NoRunner
from replays import World

from tao_skill_bank.weights.safetensors_files import fingerprint

SHIM = """\
#!/bin/sh
# Records that it was called; an agent that follows the skills needs it for nothing.
printf '%s\\n' "{name} $*" >> {calls}
exit 1
"""
RECORDED = ("kubectl", "ssh", "nvidia-smi", "docker", "sbatch", "squeue", "sinfo", "scancel")
UP = "gpu*|1-00:00:00|up\n"


class Worlds:
    """Builds the world of one replay from its parts, in a folder of its own."""

    def __init__(self, folder: Path, state_dir: Path, patch: pytest.MonkeyPatch, samples: dict[str, Path]) -> None:
        self.folder, self.state_dir, self.patch, self.samples = folder, state_dir, patch, samples
        self.world = World(folder, {"HERE": str(folder), "TOKEN": f"hf_{'Ab1' * 12}"})  # looks like a credential
        self.shims = folder / "shims"
        self.closing: list[Callable[[], None]] = []

    def build(self, names: list[str]) -> World:
        self.shims.mkdir()
        for name in RECORDED:
            path = self.shims / name
            path.write_text(SHIM.format(name=name, calls=self.shims / "calls"))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.patch.setenv("PATH", str(self.shims), prepend=":")
        self.world.calls = lambda: _lines(self.shims / "calls")
        for name in names:
            getattr(self, name)()
        return self.world

    # --- data ---

    def clips(self) -> None:
        """Questions about clips in DATA: train, val, test."""
        shutil.copytree(self.samples["vlm"], self.folder / "DATA")

    def robot(self) -> None:
        """Captioned robot clips in DATA."""
        shutil.copytree(self.samples["robot"], self.folder / "DATA")

    def no_fps(self) -> None:
        """Two records without their frame rate."""
        path = self.folder / "DATA" / "train" / "annotations.json"
        records = json.loads(path.read_text())
        for record in records[:2]:
            del record["video_fps"]
        path.write_text(json.dumps(records))

    # --- jobs ---

    def finished(self) -> None:
        """A finished training, $TRAINED, and a finished search, $SEARCHED."""
        models = self.folder / "models"
        models.mkdir()
        (models / "builtin").symlink_to(self.samples["model"].parent)
        (models / "fingerprint").write_text(str(fingerprint(self.samples["model"])))
        installed = version_1.install(self.folder / "old", models)
        shutil.copytree(installed.state_dir / "jobs", self.state_dir / "jobs", dirs_exist_ok=True)
        self.world.names |= {"TRAINED": installed.job("reason_train"), "SEARCHED": installed.job("search")}

    # --- engines ---

    def slurm(self) -> None:
        """A cluster with one partition that takes any job and has it wait."""
        fake = FakeSlurm(self.folder / "slurm", self.patch)
        fake.says("sinfo", UP)
        fake.says("sbatch", "41\n")
        fake.says("squeue", "")  # no job has the name of the one that is about to be submitted
        fake.says("squeue", "41|PENDING|Resources\n")
        self.world.calls = fake.calls

    def docker(self) -> None:
        """A daemon with the bank's image."""
        fake = FakeDocker(self.folder / "docker", self.patch)
        fake.says("info", json.dumps({"NCPU": 8, "Runtimes": {"runc": {}, "nvidia": {}}}))
        fake.says("image inspect", "[]")
        self.world.calls = fake.calls

    def docker_without_image(self) -> None:
        """A daemon that lacks every image."""
        fake = FakeDocker(self.folder / "docker", self.patch)
        fake.says("info", json.dumps({"NCPU": 8, "Runtimes": {"runc": {}, "nvidia": {}}}))
        fake.says("image inspect", stderr="Error response from daemon: No such image: x", code=1)
        self.world.calls = fake.calls

    def kubernetes(self) -> FakeKubernetes:
        """A cluster with two nodes of 8 GPUs and the claim `datasets`."""
        (self.folder / "cluster").mkdir()
        fake = FakeKubernetes(self.folder / "cluster", NoRunner()).start()
        self.closing.append(fake.stop)
        fake.put(
            "PersistentVolumeClaim", "datasets", spec={"accessModes": ["ReadWriteMany"]}, status={"phase": "Bound"}
        )
        for number in (1, 2):
            fake.put_node(f"n{number}", nvidia_com_gpu=8)
        self.patch.setenv("KUBECONFIG", fake.kubeconfig())
        self.world.calls = lambda: [f"{verb} {path}" for verb, path in fake.requests if "dryRun" not in path]
        return fake

    def kubernetes_without_rights(self) -> None:
        """The same cluster, whose account may not create Jobs."""
        self.kubernetes().denied.add(("create", "jobs"))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def built(worlds: Worlds, names: list[str]) -> Iterator[World]:
    """Build a world, and stop its servers in the end."""
    try:
        yield worlds.build(names)
    finally:
        for close in worlds.closing:
            close()
