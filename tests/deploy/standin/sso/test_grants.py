from aiohttp.test_utils import make_mocked_request

from deploy.standin.sso.grants import Bearer, Grants

ALICE = Bearer(90_000_001, frozenset({"esi-killmails.read_killmails.v1"}), "app")


def held(grants: Grants, header: str | None, now_s: float) -> Bearer | None:
    headers = {} if header is None else {"Authorization": header}
    return grants.bearer(make_mocked_request("GET", "/", headers), now_s)


def test_request_is_its_token_holders_until_the_token_ends() -> None:
    grants = Grants()
    grants.give_access_token("jwt", ALICE, until_s=100, now_s=0)
    assert held(grants, "Bearer jwt", 99) == ALICE
    assert held(grants, "bearer jwt", 99) == ALICE
    assert held(grants, "Bearer jwt", 100) is None


def test_other_requests_are_nobodys() -> None:
    grants = Grants()
    grants.give_access_token("jwt", ALICE, until_s=100, now_s=0)
    refresh_token = grants.give_refresh_token(ALICE, 0)
    for header in (None, "", "Bearer", "Bearer forged", "Basic jwt", f"Bearer {refresh_token}"):
        assert held(grants, header, 1) is None


def test_revoked_access_token_is_nobodys() -> None:
    grants = Grants()
    grants.give_access_token("jwt", ALICE, until_s=100, now_s=0)
    grants.revoke("jwt")
    assert held(grants, "Bearer jwt", 1) is None


def test_access_tokens_that_ended_are_forgotten() -> None:
    grants = Grants()
    for now_s in range(10_000):
        grants.give_access_token(f"jwt {now_s}", ALICE, until_s=now_s + 5, now_s=now_s)
    assert len(grants._access_tokens) < 1_100
    assert held(grants, "Bearer jwt 9999", 9_999) == ALICE
