"""Checks that a platform's command line tools are installed and respond."""

import argparse
import shutil
import subprocess
from collections.abc import Iterator

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import settings
from tao_skill_bank.core.findings import blocking, info, not_checked

ALIASES = {"local-docker": "docker", "remote-docker": "docker", "k8s": "kubernetes"}
TOOLS: dict[str, tuple[str, ...]] = {
    "local": (),
    "docker": ("docker",),
    "slurm": ("sbatch", "squeue", "sacct", "scancel"),
    "kubernetes": ("kubectl",),
}
QUESTIONS = {
    "docker": ("docker", "info", "--format", "{{.ServerVersion}}"),
    "slurm": ("squeue", "--version"),
    "kubernetes": ("kubectl", "version", "--request-timeout=10s"),
}
SPELLINGS = {"docker": "Docker", "slurm": "SLURM", "kubernetes": "Kubernetes"}
TIMEOUT_SECONDS = 15


def names() -> list[str]:
    """Return every accepted platform name."""
    return [*TOOLS, *ALIASES]


def check(flags: argparse.Namespace) -> Iterator[Finding]:
    """Yield the findings of the named platform."""
    platform = ALIASES.get(flags.platform, flags.platform)
    spelled = SPELLINGS.get(platform, platform)
    if flags.install_missing_tools:
        yield not_checked(
            "tools_not_installed", "Missing tools are reported, never installed", "Install them yourself."
        )
    if flags.skip_platform_access:
        message = f"Platform access not checked: {platform} (--skip-platform-access)"
        yield not_checked("platform_not_checked", message, "Run without --skip-platform-access.")
        return
    missing = [tool for tool in TOOLS[platform] if shutil.which(tool) is None]
    if missing:
        message = f"Missing {spelled} requirement(s): {', '.join(missing)}"
        yield blocking("platform_tools_missing", message, f"Install {', '.join(missing)} and put them on the PATH.")
    elif platform in QUESTIONS:
        yield _ask(platform, spelled, flags.docker_host)
    image = flags.gpu_smoke_image or flags.container_image
    if image:
        message = f"Container image not checked: {image}"
        yield not_checked("image_not_checked", message, f"docker run --rm --gpus all {image} nvidia-smi")


def _ask(platform: str, spelled: str, docker_host: str | None) -> Finding:
    environment = settings.child_environment(**({"DOCKER_HOST": docker_host} if docker_host else {}))
    fix = "Start it, or correct the address and the permissions."
    try:
        answer = subprocess.run(
            QUESTIONS[platform],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = type(error).__name__
        return blocking("platform_unreachable", f"{spelled} does not respond: {reason}", fix)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        return blocking("platform_unreachable", f"{spelled} does not respond: {reason}", fix)
    return info("platform", f"{spelled} OK: {' '.join(answer.stdout.split())[:80]}")
