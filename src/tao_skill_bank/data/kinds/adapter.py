"""An adapter that is put on the model of the action."""

from tao_skill_bank.contracts import Input, contract
from tao_skill_bank.data.kinds import Context, Found, Kind, Place, findings_of, options_of
from tao_skill_bank.weights import adapter_base


@contract
class Options:
    """The model that the adapter is put on: a URI or folder, empty for that of the action."""

    base: str = ""


def look(given: Input, context: Context) -> Found:
    """Read the headers of the adapter's files and compare their base with the model."""
    base = options_of(Options, given).base or context.workload.model
    return Found(given, findings=adapter_base.check(given.paths["path"], base))


KIND = Kind(title="adapter", options=Options, paths={"path": Place("folder")}, look=look, check=findings_of)
