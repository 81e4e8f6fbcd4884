"""Which media type an answer has, by the client's `Accept`."""

from typing import Final

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
HTML: Final = "text/html"


def preferred(accept: str | None, offered: tuple[str, ...]) -> str:
    """Return the offered type of the highest quality; the first one when none is accepted.

    Of equal ones, it is the one that the client names first; one that only a wildcard accepts
    comes behind those that are named.
    Source: RFC 9110, 12.5.1.
    """
    best, best_rank = offered[0], (0.0, False, 0)
    for position, (media_range, quality) in enumerate(_ranges(accept or "*/*")):
        for order, media_type in enumerate(offered):
            rank = quality, media_range == media_type, -position * len(offered) - order
            if quality > 0 and _matches(media_range, media_type) and rank > best_rank:
                best, best_rank = media_type, rank
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for part in accept.split(",")[:50]:
        media_range, *parameters = (text.strip().lower() for text in part.split(";"))
        given = dict(text.split("=", 1) for text in parameters if "=" in text)
        ranges.append((media_range, _quality(given.get("q", "1"))))
    return ranges


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _matches(media_range: str, media_type: str) -> bool:
    return media_range in ("*/*", media_type, f"{media_type.partition('/')[0]}/*")
