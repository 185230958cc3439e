"""Asks the platform whether it would take the job."""

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.errors import RequestError, TaoSkillsError
from tao_skill_bank.platforms import answers
from tao_skill_bank.platforms.base import Platform


def check(job: Job, platform: Platform) -> list[Finding]:
    """Return the findings of the platform's own probe.

    Raises:
        RequestError: its options contradict themselves, whatever the engine says.

    """
    try:
        return platform.probe(job)
    except RequestError:
        raise
    except TaoSkillsError as error:
        return answers.findings(error)
