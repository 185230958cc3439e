from types import SimpleNamespace

import psutil
import pytest

from tao_skill_bank.platforms import file_systems
from tao_skill_bank.platforms.file_systems import Mounted


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine whose root is an own disk, with more file systems below a folder of this test."""
    real = tmp_path.resolve()

    def make(*mounts, exports=""):
        table = [SimpleNamespace(mountpoint="/", fstype="ext4")]
        table += [SimpleNamespace(mountpoint=str(real / name), fstype=kind) for name, kind in mounts]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: table)
        (tmp_path / "exports").write_text(exports)
        monkeypatch.setattr(file_systems, "EXPORTS", tmp_path / "exports")
        return real

    return make


@pytest.mark.parametrize("kind", sorted(file_systems.OWN_TYPES))
def test_a_disk_or_memory_of_this_machine_is_its_own(machine, kind):
    root = machine(("scratch", kind))
    (root / "scratch").mkdir()
    assert file_systems.own(str(root / "scratch" / "run" / "later")) == Mounted(kind, str(root / "scratch"))


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs", "ceph", "fuse.sshfs", "9p", "wekafs", "never-heard-of"])
def test_a_file_system_of_a_network_or_an_unknown_one_may_be_shared(machine, kind):
    root = machine(("lab", kind))
    (root / "lab").mkdir()
    assert file_systems.own(str(root / "lab" / "data")) is None
    assert file_systems.own(str(root)) == Mounted("ext4", "/")


def test_the_last_of_two_file_systems_at_one_place_counts(machine):
    root = machine(("lab", "nfs4"), ("lab", "tmpfs"))
    (root / "lab").mkdir()
    assert file_systems.own(str(root / "lab" / "x")) == Mounted("tmpfs", str(root / "lab"))


def test_a_link_leads_to_the_file_system_of_its_target(machine):
    root = machine(("lab", "nfs4"))
    (root / "lab" / "data").mkdir(parents=True)
    (root / "data").symlink_to(root / "lab" / "data")
    assert file_systems.own(str(root / "data")) is None


def test_a_disk_that_this_machine_exports_is_shared(machine):
    root = machine()
    exports = f'# comment\n"{root}/lab" 10.0.0.0/8(rw)\n'
    machine(exports=exports)
    for name in ("lab", "lab-2"):
        (root / name).mkdir()
    assert file_systems.own(str(root / "lab" / "x")) is None
    assert file_systems.own(str(root / "lab-2" / "x")) == Mounted("ext4", "/")
