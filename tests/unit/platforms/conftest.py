import pytest
from fake_kubernetes import FakeKubernetes
from kubernetes_jobs import NoRunner, kubernetes_job

from tao_skill_bank.platforms.kubernetes import platform


@pytest.fixture
def kubernetes_cluster(tmp_path, monkeypatch):
    for name in ("START_SECONDS", "RECONCILE_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(platform, name, 1.0)
    monkeypatch.setattr(platform, "POLL_SECONDS", 0.02)
    fake = FakeKubernetes(tmp_path, NoRunner()).start()
    fake.put("PersistentVolumeClaim", "data", spec={"accessModes": ["ReadWriteMany"]}, status={"phase": "Bound"})
    yield fake
    fake.stop()


@pytest.fixture
def kubernetes_jobs(kubernetes_cluster, tmp_path):
    """Make jobs for the fake cluster; `options` come on top of those that it needs."""

    def make(options=None, **changes):
        needed = {
            "kubeconfig": kubernetes_cluster.kubeconfig(),
            "claim": "data",
            "claim_path": str(tmp_path),
            "grace_seconds": 1,
        }
        return kubernetes_job(tmp_path / "run", {**needed, **(options or {})}, **changes)

    return make
