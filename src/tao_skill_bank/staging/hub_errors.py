"""Translates download errors of the Hugging Face Hub into our errors, with fixes."""

from typing import Literal

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, BlockedError, TaoSkillsError, UnknownNameError

EXIT_CREDENTIALS = 4
RepositoryType = Literal["model", "dataset"]
PAGES = {"model": "https://huggingface.co/", "dataset": "https://huggingface.co/datasets/"}
LOCAL = {"model": "a local checkpoint folder", "dataset": "a local folder"}


def client_errors() -> tuple[type[Exception], ...]:
    """Return all exceptions that huggingface_hub raises when the Hub refuses or cannot be reached."""
    from huggingface_hub import errors

    # The HTTP library's name varies (httpx, httpx2), but its HTTPError is always a base of HfHubHTTPError.
    return (errors.HFValidationError, OSError, *errors.HfHubHTTPError.__bases__)


def explain(error: Exception, repository: str, revision: str, repo_type: RepositoryType = "model") -> TaoSkillsError:
    """Return the error that explains why `repository` cannot be downloaded.

    BlockedError: access is refused, or the Hub is disabled. UnknownNameError: there is no such repository or
    revision. BackendError: the Hub cannot be reached.
    """
    from huggingface_hub import errors

    page = PAGES[repo_type] + repository
    if isinstance(error, errors.GatedRepoError):
        return _refused(repository, page, repo_type)
    if isinstance(error, errors.RevisionNotFoundError):
        message = f"{repository} has no revision '{revision}'."
        return UnknownNameError.of("unknown_revision", message, f"Choose a revision listed on {page}.")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        fix = f"Check the name on {page}; a private {repo_type} needs HF_TOKEN with read access."
        return UnknownNameError.of(f"unknown_{repo_type}", f"The Hub has no visible {repo_type} {repository}.", fix)
    return _unreachable(repository, error, repo_type)


def is_unreachable(explained: TaoSkillsError) -> bool:
    """Return whether the Hub did not respond at all, so that an earlier download may be used instead."""
    return explained.problems[0].code in ("hub_offline", "hub_unreachable")


def _refused(repository: str, page: str, repo_type: RepositoryType) -> BlockedError:
    if settings.has_variable("HF_TOKEN"):
        message = f"Access to {repository} is refused: its agreement is not accepted, or HF_TOKEN lacks read access."
        fix = f"Accept the agreement at {page} with the account of HF_TOKEN."
    else:
        message = f"{repository} is gated and the environment variable HF_TOKEN is not set."
        fix = f"Accept the agreement at {page}, then set HF_TOKEN to a token with read access."
    error = BlockedError.of(f"gated_{repo_type}", message, fix)
    error.exit_code = EXIT_CREDENTIALS
    return error


def _unreachable(repository: str, error: Exception, repo_type: RepositoryType) -> TaoSkillsError:
    if settings.hub_is_offline():
        message = f"{repository} is not on this machine and the Hub is disabled (HF_HUB_OFFLINE)."
        return BlockedError.of("hub_offline", message, f"Unset HF_HUB_OFFLINE, or give {LOCAL[repo_type]}.")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    message = f"{repository} cannot be downloaded: {reason}"
    return BackendError.of("hub_unreachable", message, f"Check the network, or give {LOCAL[repo_type]}.")
