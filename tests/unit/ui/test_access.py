import pytest

from tao_skill_bank.ui import access


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/ui.js", "/jobs/a-train-000000000000", "/nothing"])
def test_nothing_is_shown_without_the_token(without_token, path):
    answer = without_token.get(path)
    assert answer.status == 401
    assert "tao-skills ui" in answer.text
    assert without_token.token not in answer.text


def test_the_token_moves_from_the_address_into_a_cookie_that_pages_cannot_read(without_token):
    answer = without_token.get(f"/?state=ERROR&token={without_token.token}")
    assert (answer.status, answer.headers["location"]) == (303, "/?state=ERROR")
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict"} <= attributes


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_name_that_was_made_to_mean_this_machine_is_refused(pages, host):
    assert pages.get("/", host=host).status == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_only_read(pages, method):
    assert pages.get("/", method).status == 405


@pytest.mark.parametrize("path", ["/", "/ui.js", "/nothing", "/jobs/unknown"])
def test_a_browser_keeps_every_answer_to_itself(pages, path):
    headers = pages.get(path).headers
    assert {name: headers[name] for name in access.HEADERS} == access.HEADERS


def test_another_servers_cookie_does_not_open_this_one(pages, without_token):
    name, _, value = pages.cookie.partition("=")
    without_token.cookie = f"tao_ui_00000000={value}"
    assert without_token.get("/").status == 401
    without_token.cookie = f"{name}=a{value}"
    assert without_token.get("/").status == 401
