"""What the SSO's refusals of tokens mean."""

import pytest

from actors.esi.answer import Answer
from actors.shared.errors import Misconfigured
from actors.users.sso import LoginRequired, SsoUnavailable, refusal_of

SECRET = "a.code.or.token"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"error": "invalid_grant", "error_description": "Unknown: SECRET"}', LoginRequired),
        (400, '{"error": "invalid_token", "error_description": "SECRET"}', LoginRequired),
        (400, '{"error": "SECRET"}', SsoUnavailable),
        (401, '{"error": "invalid_client", "error_description": "SECRET"}', Misconfigured),
        (400, '{"error": "unauthorized_client"}', Misconfigured),
        (503, '{"error": "SECRET"}', SsoUnavailable),
        (502, "<html>SECRET</html>", SsoUnavailable),
        (400, "", SsoUnavailable),
    ],
)
def test_each_refusal_has_its_meaning_and_repeats_no_secret(
    status: int, body: str, kind: type[Exception]
) -> None:
    answer = Answer(status, {}, body.replace("SECRET", SECRET).encode())
    refused = refusal_of(answer, SECRET)
    assert type(refused) is kind
    assert SECRET not in str(refused)


def test_an_answer_that_nests_too_deeply_is_a_failure_of_the_sso() -> None:
    deep = b'{"error": ' + b"[" * 100_000
    assert isinstance(refusal_of(Answer(400, {}, deep), "secret"), SsoUnavailable)
