"""The login's pages: without scripts and foreign resources, and with all text escaped."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from string import Template
from typing import Final

from starlette.responses import HTMLResponse

_STYLE: Final = """\
body { font: 16px/1.5 sans-serif; max-width: 42em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: .3em .8em .3em 0; text-align: left }
.wrong { color: #a00 }"""
_STYLE_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of each answer of `/auth/…`, whose URLs may have codes that no other site may see."""

_PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title · Killstream</title>$refresh
<style>$style</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
"""
)


def page(title: str, body: str, *, status: int = 200, refresh_s: int | None = None) -> HTMLResponse:
    """Make a page.

    Args:
        title: Text.
        body: HTML, in which the caller has escaped all foreign text.
        status: HTTP status.
        refresh_s: Interval at which the browser loads the page again.
    """
    refresh = f'\n<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    html = _PAGE.substitute(title=escape(title), refresh=refresh, style=_STYLE, body=body)
    return HTMLResponse(html, status, headers=HEADERS)


def failure_page(message: str, status: int) -> HTMLResponse:
    """Make the page with the reason of a failed login, and a link to begin again."""
    title = "You aren't logged in" if status == 401 else "The login failed"
    body = (
        f'<p class="wrong">{escape(message)}</p>\n'
        '<p><a href="/auth/login?scopes=character">Log in</a></p>'
    )
    return page(title, body, status=status)
