"""Jobs for platform kubernetes, and pods that do nothing."""

from runs import make_job

from tao_skill_bank.contracts import PlatformRequest
from tao_skill_bank.core import yaml12

JOB = "cosmos-rl-train-0123456789ab"


def kubernetes_job(results_dir="/shared/a run", options=None, **changes):
    values = {"id": JOB, "image": "registry/image:1", "module": "tao_skill_bank.training.x", **changes}
    return make_job(results_dir, platform=PlatformRequest("kubernetes", options=options or {}), **values)


def manifests(plan):
    return yaml12.parse_all(plan.files["manifest.yaml"], "manifest.yaml")


class NoRunner:
    """Pods that start and do nothing, or what a test writes into their state."""

    def start(self, _pod):
        return Idle()

    def close(self):
        pass


class Idle:
    exit_code, message = None, ""

    def __init__(self):
        self.lines = []

    def terminate(self):
        self.exit_code = 143

    def kill(self):
        self.exit_code = 137 if self.exit_code is None else self.exit_code
