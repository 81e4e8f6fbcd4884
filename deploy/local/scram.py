"""The client's half of SCRAM-SHA-256, as PostgreSQL asks for it.

Source: RFC 5802 and 7677 (read 2026-11-21).
"""

import base64
import hashlib
import hmac
import secrets

FIRST_HEADER = "n,,"
"""No channel binding: the probe talks to this host without TLS."""


def first_message(nonce: str = "") -> str:
    """Return the bare first message; PostgreSQL takes the user from its own start-up message."""
    return f"n=,r={nonce or secrets.token_hex(12)}"


def final_message(first: str, challenge: str, password: str) -> str:
    """Answer the server's challenge with a proof that we know the password.

    Raises:
        ValueError: the challenge doesn't continue our nonce, or isn't one.
    """
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    if not fields["r"].startswith(first.rpartition("r=")[2]):
        raise ValueError("the server's nonce doesn't continue ours")
    binding = base64.b64encode(FIRST_HEADER.encode()).decode()
    unproven = f"c={binding},r={fields['r']}"
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
    )
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    transcript = f"{first},{challenge},{unproven}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), transcript, "sha256")
    proof = bytes(key ^ mask for key, mask in zip(client_key, signature, strict=True))
    return f"{unproven},p={base64.b64encode(proof).decode()}"
