"""The only reader of the environment."""

import os
from pathlib import Path

from tao_skill_bank.core import locations

TRUE_WORDS = {"1", "true", "yes", "on"}
STARTER = "TAO_STARTER_PID"
# Set by clients in the shells of their agents, and not in a terminal that a person opens in an editor: the two names
# that several clients share, then those of single ones.
AGENT_VARIABLES = (
    "AI_AGENT",
    "AGENT",
    "ANTIGRAVITY_AGENT",
    "AUGMENT_AGENT",
    "CLAUDECODE",
    "CLINE_ACTIVE",
    "CODEX_CI",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "COPILOT_CLI",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "GOOSE_TERMINAL",
    "OPENCODE",
    "QWEN_CODE",
)
FALSE_WORDS = {"", "0", "false", "no", "off"}


def state_dir() -> Path:
    """Return the root of job records, built models and caches: $TAO_STATE_DIR, else ~/.tao."""
    return locations.absolute(os.environ.get("TAO_STATE_DIR") or "~/.tao")


def state_dir_source() -> str:
    """Return what decides the state folder, in words."""
    return "from TAO_STATE_DIR" if os.environ.get("TAO_STATE_DIR") else "the default; TAO_STATE_DIR is not set"


def usual_state_dirs() -> list[Path]:
    """Return the state folders that a job of this user may be recorded in: the one in use, and the default."""
    return list(dict.fromkeys((state_dir(), locations.absolute("~/.tao"))))


def features_dir() -> Path:
    """Return the folder of cached features of frozen vision towers."""
    return state_dir() / "cache" / "features"


def bank_path() -> Path | None:
    """Return the bank root set by $TAO_SKILL_BANK_PATH, if any."""
    value = os.environ.get("TAO_SKILL_BANK_PATH")
    return locations.absolute(value) if value else None


def docker_host() -> str | None:
    """Return the Docker daemon set by $DOCKER_HOST, if any."""
    return os.environ.get("DOCKER_HOST", "").strip() or None


def storage_endpoint(scheme: str) -> str | None:
    """Return the configured endpoint of an object store, or None for the public one."""
    names = {
        "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "gs": ("STORAGE_EMULATOR_HOST",),
        "hf": ("HF_ENDPOINT",),
    }
    return next((value for name in names.get(scheme, ()) if (value := os.environ.get(name, "").strip())), None)


def has_variable(name: str) -> bool:
    """Return whether a non-empty environment variable exists. Its value is never returned."""
    return bool(os.environ.get(name, "").strip())


def secret(name: str) -> str | None:
    """Return the credential in an environment variable, or None. It is sent only to its service and never written."""
    return os.environ.get(name, "").strip() or None


def hub_is_offline() -> bool:
    """Return whether huggingface_hub is in offline mode."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in TRUE_WORDS for name in names)


def output_format() -> str:
    """Return the output format set by $TAO_FORMAT, empty for none."""
    return os.environ.get("TAO_FORMAT", "").strip().lower()


def is_agent() -> bool:
    """Return whether the client of an agent started this process."""
    return any(os.environ.get(name, "").strip().lower() not in FALSE_WORDS for name in AGENT_VARIABLES)


def visible_gpus() -> str | None:
    """Return $CUDA_VISIBLE_DEVICES as the user set it, or None."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def planned_device() -> str | None:
    """Return the device that the launcher planned for this process ($TAO_DEVICE: cpu or cuda), or None."""
    return os.environ.get("TAO_DEVICE", "").strip().lower() or None


def kubeconfig() -> str:
    """Return the path of kubectl's configuration: $KUBECONFIG, else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(locations.absolute("~/.kube/config"))


def is_in_pod() -> bool:
    """Return whether Kubernetes started this process."""
    return has_variable("KUBERNETES_SERVICE_HOST")


def processes_on_this_machine() -> int:
    """Return the number of ranks that torchrun started on this machine ($LOCAL_WORLD_SIZE); 1 without torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_rank_0() -> bool:
    """Return whether torchrun started this process as rank 0 ($RANK); true without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def starter() -> int | None:
    """Return the process that this one ends with ($TAO_STARTER_PID), and hide it from further children."""
    found = os.environ.pop(STARTER, "")
    return int(found) if found.isdigit() else None


def job_id() -> str:
    """Return the job that this process belongs to ($TAO_JOB_ID), empty outside of jobs."""
    return os.environ.get("TAO_JOB_ID", "").strip()


def child_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment with `extra` on top, for a child process."""
    return {**os.environ, **extra}
