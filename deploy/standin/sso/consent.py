"""The pages that a player sees: consent, and what is wrong with the address."""

from collections.abc import Iterable
from html import escape
from string import Template
from typing import Final

from deploy.standin.characters import Character

_PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>$title</title>
<style>body { font: 16px sans-serif; max-width: 40em; margin: 2em auto }
label { display: block }</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
"""
)
_CONSENT: Final = Template(
    """<p>This is the stand-in of EVE's SSO. <strong>$application</strong> asks for:</p>
<ul>
$scopes
</ul>
<form method="post" action="$action">
<fieldset><legend>Character</legend>
$characters
</fieldset>
<button name="decision" value="allow">Authorize</button>
<button name="decision" value="deny">Deny</button>
</form>"""
)


def consent_page(
    application: str, scopes: Iterable[str], characters: Iterable[Character], action: str
) -> str:
    """Make the page on which a player chooses a character and agrees; it has no scripts.

    Args:
        application: who asks.
        scopes: what for.
        characters: to choose from; the first is chosen at first.
        action: the address to which the form is posted, that of the page itself.
    """
    choices = "\n".join(
        _choice(character, chosen=place == 0) for place, character in enumerate(characters)
    )
    listed = "\n".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    body = _CONSENT.substitute(
        application=escape(application),
        scopes=listed or "<li>nothing but who you are</li>",
        action=escape(action),
        characters=choices,
    )
    return _PAGE.substitute(title="Log in with a character", body=body)


def error_page(reason: str) -> str:
    """Make the page for a request that can't be led back to any application."""
    return _PAGE.substitute(title="This login can't go on", body=f"<p>{escape(reason)}</p>")


def _choice(character: Character, *, chosen: bool) -> str:
    role = ", Director" if character.is_director else ""
    return (
        f'<label><input type="radio" name="character_id" value="{character.character_id}"'
        f"{' checked' if chosen else ''}> {escape(character.name)}"
        f" (corporation {character.corporation_id}{role})</label>"
    )
