"""The keys that sign access tokens: made when first needed, once per process, written nowhere."""

from functools import cache
from typing import Final

from joserfc.jwk import ECKey, KeySet, KeySetSerialization, RSAKey

RS256_KID: Final = "JWT-Signature-Key"
ES256_KID: Final = "8878a23f-2489-4045-989e-4d2f3ec1ae1a"
"""Source: the key ids of EVE's own JWKS (read 2026-09-30)."""


@cache
def rs256_key() -> RSAKey:
    """Return the key that signs by default."""
    return _new_rsa_key()


@cache
def es256_key() -> ECKey:
    """Return the other key."""
    return ECKey.generate_key("P-256", {"kid": ES256_KID, "alg": "ES256", "use": "sig"})


@cache
def foreign_key() -> RSAKey:
    """Return a key that pretends to be the first one and isn't in the JWKS."""
    return _new_rsa_key()


def jwks() -> KeySetSerialization:
    """Give the public halves of the keys that count."""
    return KeySet([rs256_key(), es256_key()]).as_dict(private=False)


def _new_rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": RS256_KID, "alg": "RS256", "use": "sig"})
