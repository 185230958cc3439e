"""Checks credentials by name, never by value, and asks the hub whether a gated repository may be read."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from tao_skill_bank.contracts import Credential, Finding, Job
from tao_skill_bank.core import settings
from tao_skill_bank.core.findings import blocking, info, not_checked
from tao_skill_bank.weights import model_uri
from tao_skill_bank.weights.model_folders import is_model_folder

HUB_TIMEOUT_SECONDS = 20


def check(job: Job) -> list[Finding]:
    """Return the findings of every hub checkpoint; none is needed offline or for local checkpoints."""
    repositories = list(dict.fromkeys(_repositories(job)))
    if not repositories or settings.hub_is_offline():
        return []
    missing = [
        _missing(credential.name, repository)
        for credential in job.credentials
        if credential.required and not settings.has_variable(credential.name)
        for repository in [name for name, _ in repositories if _needs(credential, name)][:1]
    ]
    held = job.platform.options.get("secret")
    if missing and held:  # a Secret of the platform, whose value is not read here
        return [_held_elsewhere(str(held), found) for found in missing]
    if missing:
        return missing
    return [
        _access(repository, revision, [known.name for known in job.credentials])
        for repository, revision in repositories
    ]


def _needs(credential: Credential, repository: str) -> bool:
    return not credential.models or any(fnmatchcase(repository, pattern) for pattern in credential.models)


def _repositories(job: Job) -> Iterator[tuple[str, str]]:
    uris = [job.workload.model, job.workload.base_model or "", *(uri for uri, _ in job.fetches)]
    for uri in uris:
        if uri.startswith(model_uri.HUB) and not is_model_folder(model_uri.local_folder(uri)):
            repository, _, revision = uri.removeprefix(model_uri.HUB).partition("@")
            yield repository, revision


def _missing(name: str, repository: str) -> Finding:
    message = f"The environment variable {name} is not set; the checkpoint {repository} needs it."
    fix = f"export {name}=... with a token that may read {repository}, or name a local checkpoint folder."
    return blocking("credential_missing", message, fix, name, repository=repository)


def _held_elsewhere(secret: str, missing: Finding) -> Finding:
    repository = missing.evidence["repository"]
    message = (
        f"{missing.path} is not set here; the job takes it from Secret {secret} of its platform. Whether it may read"
    )
    message += f" {repository} was not checked."
    return not_checked("hub_access_not_checked", message, f"See that its account may read {repository}.", missing.path)


def _access(repository: str, revision: str, variables: Sequence[str]) -> Finding:
    page = f"https://huggingface.co/{repository}"
    where = f"{model_uri.HUB}{repository}" + (f"@{revision}" if revision else "")
    unset = [name for name in variables if not settings.has_variable(name)]
    export = f", then export {unset[0]}=... with a token that may read it" if unset else ""
    answer = _ask_hub(repository, revision)
    match answer.get("access"):
        case "ok":
            return info("hub_access", f"The hub grants access to {repository}.", where)
        case "gated":
            message = f"{repository} is gated and its agreement was not accepted with this account."
            return blocking("credential_gated", message, f"Accept the agreement at {page}{export}", where, page=page)
        case "rejected":
            message = f"The hub rejected the token, or this account may not see {repository}."
            fix = f"Set a valid token with read access, and check that {page} exists{export}."
            return blocking("credential_rejected", message, fix, where, page=page)
        case "missing":
            message = f"The hub has no model {repository} that this account can see."
            return blocking("checkpoint_missing", message, f"Correct the name; see {page}", where)
        case "revision_missing":
            message = f"{repository} has no revision {revision}."
            return blocking("checkpoint_missing", message, f"Take one of {page}/tree/main", where)
    reason = answer.get("unreachable", "no answer")
    message = f"The hub could not be asked about {repository} ({reason}): access was not checked."
    fix = "Connect to the hub and run preflight again, or name a local checkpoint folder."
    return not_checked("hub_unreachable", message, fix, where)


def _ask_hub(repository: str, revision: str) -> dict[str, str]:
    command = [sys.executable, "-P", "-m", "tao_skill_bank.preflight.storage.hub_access", repository, revision]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=HUB_TIMEOUT_SECONDS, check=False)
        answer: dict[str, str] = json.loads(child.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"unreachable": f"no answer within {HUB_TIMEOUT_SECONDS} seconds"}
    except (ValueError, IndexError):
        return {"unreachable": "the request could not be made"}
    return answer
