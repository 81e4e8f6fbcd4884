"""GraphiQL, and the policy under which a browser shows it, as it may use a visitor's session."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from ariadne.explorer import ExplorerGraphiQL

FIRST_QUERY: Final = """\
# Each new killmail, as soon as it is stored.
subscription OnNewKillmail {
  killmailAdded {
    killmailId
    killmailTime
    victim { characterName shipTypeName }
  }
}
"""
EXPLORER: Final = ExplorerGraphiQL(title="Killstream", default_query=FIRST_QUERY)

_SCRIPTS: Final = "https://esm.sh"
_INLINE: Final = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


def _policy(html: str) -> str:
    """Allow the page's own scripts, what they load, and connections to the gateway only.

    GraphiQL's editor writes styles into the page, and starts its workers from blobs; an optional
    module of its import map is an empty `data:` address.
    """
    own = " ".join(f"'sha256-{_hash(script)}'" for script in _INLINE.findall(html))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {own} {_SCRIPTS} data:",
            "worker-src blob:",
            f"style-src 'unsafe-inline' {_SCRIPTS}",
            f"font-src {_SCRIPTS} data:",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()


HEADERS: Final = {
    "Content-Security-Policy": _policy(EXPLORER.parsed_html),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
