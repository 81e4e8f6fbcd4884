"""What the vault encrypts, only its keys decrypt."""

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from actors.users.vault import Undecryptable, Vault, open_vault

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
TOKEN = "a.refresh.token"


def vault(*keys: str) -> Vault:
    return open_vault(Settings(token_keys=SecretStr(" , ".join(keys))))


def test_decrypts_what_it_encrypted() -> None:
    encrypted = vault(OLD).encrypt(TOKEN)
    assert TOKEN.encode() not in encrypted
    assert vault(OLD).decrypt(encrypted) == TOKEN


def test_an_older_key_decrypts_until_the_value_is_rotated() -> None:
    encrypted = vault(OLD).encrypt(TOKEN)
    assert vault(NEW, OLD).decrypt(encrypted) == TOKEN
    rotated = vault(NEW, OLD).rotate(encrypted)
    assert vault(NEW).decrypt(rotated) == TOKEN
    with pytest.raises(Undecryptable, match="KILLSTREAM_TOKEN_KEYS"):
        vault(OLD).decrypt(rotated)


def test_a_changed_value_is_refused() -> None:
    encrypted = bytearray(vault(OLD).encrypt(TOKEN))
    encrypted[40] ^= 1
    with pytest.raises(Undecryptable):
        vault(OLD).decrypt(bytes(encrypted))


@pytest.mark.parametrize(
    "keys", ["", " , ", "short", f"{OLD},short"], ids=["none", "empty", "short", "one short"]
)
def test_missing_and_invalid_keys_are_refused_without_naming_them(keys: str) -> None:
    with pytest.raises(Misconfigured, match="KILLSTREAM_TOKEN_KEYS") as refused:
        open_vault(Settings(token_keys=SecretStr(keys)))
    assert "short" not in str(refused.value)


def test_keys_stay_out_of_texts() -> None:
    settings = Settings(token_keys=SecretStr(OLD), eve_client_secret=SecretStr("s3cret"))
    shown = f"{settings!r} {settings} {vault(OLD)!r}"
    assert OLD not in shown
    assert "s3cret" not in shown
