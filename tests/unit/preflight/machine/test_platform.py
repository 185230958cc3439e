import pytest
from preflight_worlds import QuietPlatform, codes, make_job

from tao_skill_bank.contracts import Finding
from tao_skill_bank.errors import BackendError, RequestError
from tao_skill_bank.platforms.answers import RefusedError
from tao_skill_bank.preflight.machine import platform


class Refusing(QuietPlatform):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def probe(self, job):  # noqa: ARG002 - the protocol names it
        raise self.error


def test_the_platforms_own_findings_are_passed_on(tmp_path):
    found = Finding("no_image", "blocking", "There is none.", "Name one.")
    assert platform.check(make_job(tmp_path), QuietPlatform([found])) == [found]


def test_an_engine_that_cannot_be_reached_is_a_warning_that_stops_a_launch(tmp_path):
    down = BackendError.of("backend_unreachable", "The engine does not answer.", "Start it.")
    (found,) = platform.check(make_job(tmp_path), Refusing(down))
    assert (found.code, found.severity, found.blocks_run) == ("backend_unreachable", "warning", True)
    refused = RefusedError.of("engine_refuses", "Not on Fridays.", "Wait.")
    assert codes(platform.check(make_job(tmp_path), Refusing(refused)), "blocking") == ["engine_refuses"]
    wrong = RequestError.of("invalid_option", "No such time.", "Write minutes.")
    with pytest.raises(RequestError, match="No such time"):
        platform.check(make_job(tmp_path), Refusing(wrong))
