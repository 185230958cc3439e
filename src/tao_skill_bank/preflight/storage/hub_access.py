"""Asks the hub, in a child process, whether this account may read a repository. Prints one JSON object.

`python -m tao_skill_bank.preflight.storage.hub_access ORG/NAME [REVISION]`; the parent bounds the time.
"""

import json
import sys
from collections.abc import Sequence


def ask(repository: str, revision: str) -> str:
    """Return `ok`, `gated`, `missing`, `revision_missing` or `rejected`; raise what the connection raises."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().auth_check(repository)
        if revision:
            HfApi().model_info(repository, revision=revision)
    except GatedRepoError:
        return "gated"
    except RevisionNotFoundError:
        return "revision_missing"
    except (RepositoryNotFoundError, HFValidationError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        return "rejected" if status == 401 else "missing"
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            return "rejected"
        raise
    return "ok"


def main(arguments: Sequence[str]) -> str:
    """Return the answer as JSON."""
    repository, revision = (*arguments, "")[:2]
    try:
        return json.dumps({"access": ask(repository, revision)})
    except Exception as error:  # noqa: BLE001 - whatever the transport raises means: not reached
        return json.dumps({"unreachable": type(error).__name__})


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]) + "\n")
