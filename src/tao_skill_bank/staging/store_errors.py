"""Translates object store errors into our errors, with fixes."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BackendError, BlockedError, TaoSkillsError
from tao_skill_bank.staging import places

EXIT_CREDENTIALS = 4
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}
NAMES_OF_KEYS = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS", "hf": "HF_TOKEN"}
NO_CREDENTIALS = re.compile(
    r"(?i)unable to locate credentials|NoCredentials|PartialCredentials|profile .* not be found"
)
REFUSED = re.compile(
    r"(?i)InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|access key id you provided does not exist"
    r"|signature we calculated|token (provided )?(has expired|is expired|is invalid)|invalid credentials|\b401\b"
)
NO_BUCKET = re.compile(r"(?i)NoSuchBucket|bucket does not exist|bucket is not valid")
NOT_FOUND_WORDS = re.compile(r"(?i)RepositoryNotFound|RevisionNotFound|Repository Not Found|Entry ?Not ?Found")
RETRYABLE_STATUS = re.compile(r"\b(429|500|502|503|504)\b|SlowDown|ServiceUnavailable|InternalError")


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Translate what a store's client raises while it works on `uri` into our errors.

    BlockedError: the path is missing, or access is refused (exit 4). BackendError: the store cannot be reached.
    """
    try:
        yield
    except TaoSkillsError:
        raise
    except Exception as error:  # noqa: BLE001 - clients raise botocore's, aiohttp's, requests' and the system's
        raise explain(error, uri) from None


def explain(error: BaseException, uri: str) -> TaoSkillsError:
    """Return the error that explains why `uri` cannot be read or written."""
    text = _text(error)
    kind = places.scheme(uri)
    if refusal := _refusal(error, text, uri, kind):
        return refusal
    if NO_BUCKET.search(text):
        bucket = uri.partition("://")[2].partition("/")[0]
        message = f"There is no bucket '{bucket}' at {_endpoint(kind)}."
        fix = "Correct the bucket name, or set AWS_ENDPOINT_URL for a store other than Amazon's."
        return BlockedError.of("bucket_missing", message, fix, path=uri)
    if isinstance(error, FileNotFoundError) or NOT_FOUND_WORDS.search(text):
        return missing(uri)
    if "FlexibleChecksumError" in text:
        message = f"{uri} does not match the checksum of its store: {_first_line(error)}."
        return BlockedError.of("checksum_mismatch", message, "Upload the file again, or check for a proxy.", path=uri)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        message = f"The disk is full: {error}"
        return BlockedError.of("disk_too_small", message, "Free space there, or set TAO_STATE_DIR to a larger disk.")
    message = f"{uri} cannot be reached at {_endpoint(kind)}: {_first_line(error)}"
    fix = "Make sure that the endpoint is up and reachable from the job's machine"
    fix += " (it is set by AWS_ENDPOINT_URL)." if kind == "s3" else "."
    return BackendError.of("storage_unreachable", message, fix, path=uri)


def _refusal(error: BaseException, text: str, uri: str, kind: str) -> TaoSkillsError | None:
    """Return the error for missing, invalid or insufficient credentials; None for other errors."""
    if NO_CREDENTIALS.search(text):
        message = f"{uri} cannot be accessed: there are no credentials for {kind}://."
        return _credential("credential_missing", message, f"Set {KEYS[kind]} where the job runs.", uri)
    if REFUSED.search(text):
        message = f"{uri}: the store does not accept the credentials ({_first_line(error)})."
        fix = f"Set valid ones: {KEYS[kind]}. A temporary key needs AWS_SESSION_TOKEN and may have expired."
        return _credential("credential_rejected", message, fix if kind == "s3" else f"Set a valid {KEYS[kind]}.", uri)
    if isinstance(error, PermissionError) or re.search(r"\b403\b|GatedRepo", text):
        return _forbidden(uri, kind, error)
    return None


def missing(uri: str) -> BlockedError:
    """Return the error for a missing file or folder."""
    message = f"{uri} does not exist."
    fix = f"Correct the name, or upload it; list what is there: {_listing(uri)}"
    return BlockedError.of("remote_missing", message, fix, path=uri)


def missing_extra(kind: str) -> BlockedError:
    """Return the error for a store whose client is not installed."""
    message = f"{kind}:// needs a client that is not installed."
    return BlockedError.of("missing_extra", message, f"pip install 'tao-skill-bank[{kind}]'", path=kind)


def is_worth_retrying(error: BaseException) -> bool:
    """Return whether a retry may succeed: not when access was refused or the path does not exist."""
    if isinstance(error, (PermissionError, FileNotFoundError, ImportError, TaoSkillsError)):
        return False
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return False
    text = _text(error)
    if NO_CREDENTIALS.search(text) or REFUSED.search(text) or NO_BUCKET.search(text) or NOT_FOUND_WORDS.search(text):
        return False
    return not re.search(r"\b(400|403|404|412)\b", text) or RETRYABLE_STATUS.search(text) is not None


def _forbidden(uri: str, kind: str, error: BaseException) -> TaoSkillsError:
    message = f"{uri}: access is denied with these credentials ({_first_line(error)})."
    if not settings.has_variable(NAMES_OF_KEYS[kind]) and kind == "hf":
        message = f"{uri}: access is denied, and HF_TOKEN is not set."
    fix = f"Grant them read access (write access for results), or set others: {KEYS[kind]}."
    if kind == "hf":
        page = "https://huggingface.co/" + "/".join(uri.partition("://")[2].split("/")[:3]).partition("@")[0]
        fix = f"Accept the agreement at {page} and set HF_TOKEN to a token with read access."
    return _credential("credential_rejected", message, fix, uri)


def _credential(code: str, message: str, fix: str, uri: str) -> BlockedError:
    error = BlockedError.of(code, message, fix, path=uri)
    error.exit_code = EXIT_CREDENTIALS
    return error


def _listing(uri: str) -> str:
    folder = places.parent(uri)
    return {"s3": f"aws s3 ls {folder}/", "gs": f"gcloud storage ls {folder}/"}.get(
        places.scheme(uri), "the dataset's page"
    )


def _endpoint(kind: str) -> str:
    names = {"s3": "Amazon S3", "gs": "Google Cloud Storage", "hf": "the Hugging Face Hub"}
    return settings.storage_endpoint(kind) or names.get(kind, kind)


def _text(error: BaseException) -> str:
    """Return the messages and class names of an error and its causes."""
    said: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(said) < 5:
        said.append(f"{type(seen).__name__}: {seen}")
        seen = seen.__cause__ or seen.__context__
    return "\n".join(said)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
