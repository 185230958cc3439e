"""What went wrong with a download from the Hugging Face Hub, as one of our errors with its cure."""

from typing import Literal

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, BlockedError, TaoSkillsError, UnknownNameError

EXIT_CREDENTIALS = 4
Kind = Literal["model", "dataset"]
PAGES = {"model": "https://huggingface.co/", "dataset": "https://huggingface.co/datasets/"}
LOCAL = {"model": "a local checkpoint folder", "dataset": "a local folder"}


def client_errors() -> tuple[type[Exception], ...]:
    """Return everything that a call of huggingface_hub raises when the Hub refuses or cannot be reached."""
    from huggingface_hub import errors

    # Its HTTP library changes its name (httpx, httpx2), but that library's HTTPError stays a base of HfHubHTTPError.
    return (errors.HFValidationError, OSError, *errors.HfHubHTTPError.__bases__)


def explain(error: Exception, repository: str, revision: str, kind: Kind = "model") -> TaoSkillsError:
    """Return the error that tells a user why `repository` cannot be downloaded.

    BlockedError: access is refused, or the Hub is switched off. UnknownNameError: there is no such repository or
    revision. BackendError: the Hub cannot be reached.
    """
    from huggingface_hub import errors

    page = PAGES[kind] + repository
    if isinstance(error, errors.GatedRepoError):
        return _refused(repository, page, kind)
    if isinstance(error, errors.RevisionNotFoundError):
        message = f"{repository} has no revision '{revision}'."
        return UnknownNameError.of("unknown_revision", message, f"Choose a revision listed on {page}.")
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        fix = f"Check the name on {page}; a private {kind} needs HF_TOKEN with read access."
        return UnknownNameError.of(f"unknown_{kind}", f"The Hub shows no {kind} {repository}.", fix)
    return _unreachable(repository, error, kind)


def is_away(explained: TaoSkillsError) -> bool:
    """Tell whether the Hub did not answer at all, so that an earlier download may stand in."""
    return explained.problems[0].code in ("hub_offline", "hub_unreachable")


def _refused(repository: str, page: str, kind: Kind) -> BlockedError:
    if settings.has_variable("HF_TOKEN"):
        message = f"Access to {repository} is refused: its agreement is not accepted, or HF_TOKEN lacks read access."
        fix = f"Accept the agreement at {page} with the account of HF_TOKEN."
    else:
        message = f"{repository} is gated and the environment variable HF_TOKEN is not set."
        fix = f"Accept the agreement at {page}, then set HF_TOKEN to a token with read access."
    error = BlockedError.of(f"gated_{kind}", message, fix)
    error.exit_code = EXIT_CREDENTIALS
    return error


def _unreachable(repository: str, error: Exception, kind: Kind) -> TaoSkillsError:
    if settings.hub_is_offline():
        message = f"{repository} is not on this machine and the Hub is switched off (HF_HUB_OFFLINE)."
        return BlockedError.of("hub_offline", message, f"Unset HF_HUB_OFFLINE, or give {LOCAL[kind]}.")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    message = f"{repository} cannot be downloaded: {reason}"
    return BackendError.of("hub_unreachable", message, f"Check the network, or give {LOCAL[kind]}.")
