"""Runs the launch preflight from its command line and prints the findings as lines or JSON."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TextIO

from tao_skill_bank.contracts import Finding, Request, from_json, to_json
from tao_skill_bank.core import settings, yaml12
from tao_skill_bank.core.findings import from_error, warning
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.launch_check import access, arguments, data, gpus
from tao_skill_bank.launch_check.arguments import USAGE_EXIT_CODE, UsageError

FAILED_EXIT_CODE = 2
PREFIXES = {"warning": "Warning: ", "not_checked": "Warning: "}


def main(given: Sequence[str] | None, output: TextIO, errors: TextIO) -> int:
    """Run the checks, write what they found to `output`, and return the exit code."""
    try:
        flags = arguments.parse(given)
        _check_names(flags)
    except UsageError as error:
        errors.write(f"{error}\n")
        return USAGE_EXIT_CODE
    findings = list(_findings(flags))
    has_failed = any(finding.severity == "blocking" for finding in findings)
    code = FAILED_EXIT_CODE if has_failed else 0
    if flags.json:
        document = {"ok": not has_failed, "code": code, "findings": [to_json(finding) for finding in findings]}
        output.write(json.dumps(document, indent=2) + "\n")
        return code
    for finding in findings:
        output.write(f"{PREFIXES.get(finding.severity, '')}{finding.message}\n")
        if finding.severity == "blocking":
            output.write(f"  fix: {finding.fix}\n")
    output.write(f"TAO launch preflight {'failed' if has_failed else 'passed'}\n")
    return code


def _check_names(flags: argparse.Namespace) -> None:
    if flags.platform and flags.platform not in access.names():
        raise UsageError(f"--platform {flags.platform}: expected one of {', '.join(access.names())}")
    given = [entry for entries in flags.gpu_arch_allowlist.values() for entry in entries]
    given += [*(flags.image_supported_sm or "").split(","), flags.gpu_arch or ""]
    for architecture in filter(None, given):
        try:
            gpus.normalise(architecture)
        except ValueError:
            raise UsageError(f"'{architecture}' is not a GPU architecture; write it as sm_90 or 9.0") from None


def _findings(flags: argparse.Namespace) -> Iterator[Finding]:
    root = flags.skill_bank or settings.bank_path()
    if root and not (root / "skills").is_dir():
        yield warning("bank_missing", f"No skill bank at {root}", "Give its root with --skill-bank.", str(root))
    if flags.platform:
        yield from access.check(flags)
    yield from data.check(flags)
    yield from gpus.check(flags)
    if flags.request:
        yield from _request(flags)


def _request(flags: argparse.Namespace) -> Iterator[Finding]:
    from tao_skill_bank.planning import dispatch

    try:
        document = yaml12.read(flags.request)
        yield from dispatch.plan(from_json(Request, document, str(flags.request))).findings
    except TaoSkillsError as error:
        yield from from_error(error)
