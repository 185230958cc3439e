"""What a plan would submit: rendered for blocked plans as well, whose launch is refused until nothing blocks."""

from tao_skill_bank import platforms
from tao_skill_bank.contracts import Launch, Plan
from tao_skill_bank.core.findings import not_checked
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.planning import planner

NOTHING = Launch({}, ())
NOT_RENDERED = "launch_not_rendered"
WITHOUT_STUDY = "The search has no study yet, and its launch starts the study's controller."


def sealed(drafted: Plan) -> Plan:
    """Return the sealed plan with what its platform would send.

    Where a launch cannot be rendered of a plan that is not launched anyway, a finding says why, and the plan shows its
    config alone.

    Raises:
        TaoSkillsError: the platform cannot render a plan that nothing blocks.

    """
    if drafted.route.kind == "automl" and drafted.study is None:
        return _without_launch(drafted, WITHOUT_STUDY)
    try:
        launch = platforms.load(drafted.launched_on).render(drafted)
    except TaoSkillsError as error:
        if not drafted.blocking:
            raise
        return _without_launch(drafted, str(error))
    return planner.seal(drafted, launch)


def _without_launch(drafted: Plan, why: str) -> Plan:
    message = f"The plan shows its config, but not its launch, which cannot be rendered: {why}"
    fix = "Resolve the other findings, and plan the request again."
    return planner.seal(planner.noting(drafted, not_checked(NOT_RENDERED, message, fix)), NOTHING)
