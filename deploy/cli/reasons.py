"""Group reasons of rejections and errors for counting."""

import re


def kind_of(reason: str) -> str:
    """Replace ids and hashes in a reason, so that reasons that differ only in them are equal."""
    return re.sub(r"\d{4,}", "N", re.sub(r"\b[0-9a-f]{40}\b", "HASH", reason))
