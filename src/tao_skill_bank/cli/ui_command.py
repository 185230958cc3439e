"""ui: jobs in a browser."""

from tao_skill_bank.cli import serving
from tao_skill_bank.cli.output import JsonFlag
from tao_skill_bank.cli.serving import PortOption


def ui(port: PortOption = 0, as_json: JsonFlag = False) -> None:
    """Show jobs, live curves, clips and reports in a browser: read-only, on this machine alone, until Ctrl-C."""
    serving.serve(port, as_json=as_json)
