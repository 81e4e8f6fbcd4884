"""The switches: the known faults of the upstreams."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from actors.shared.errors import Misconfigured

Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
ErrorStatus = Annotated[int, Meta(ge=400, le=599)]
KillmailStatus = Annotated[int, Meta(ge=300, le=599)]

WrongHash = Literal["space", "upper", "empty", "null", "wrong"]
"""A hash with a trailing space, in upper case, empty, null, or another killmail's."""
WrongBody = Literal["null", "list", "object", "text", "absent"]
"""`esi` as null, [], {} or "", or absent: the body must be fetched."""
WrongAnswer = Literal["404", "422", "html", "empty", "cut"]
"""A refusal of an existing killmail; 200 with an HTML page, an empty body, or half of the JSON."""
Deleted = Literal["doomheim", "404"]
"""A deleted character sits in the corporation Doomheim, or isn't there at all."""
WrongObject = Literal["429", "503", "cut", "utf8"]
"""A refusal; 200 with half of the JSON, or with invalid UTF-8."""

WrongArchive = Literal["html", "cut", "rows", "twice", "file"]
"""200 with a page; half of the archive; half of the types; a type twice; a file is missing."""

WrongDay = Literal["html", "cut", "file"]
"""200 with a page; half of the archive; a file that isn't a killmail among the others."""

SsoError = Literal["token", "grant", "migrate", "expired", "client", "credentials", "unavailable"]
"""Refusals of a refresh: the first five are for ever, the last passes."""
SsoAlgorithm = Literal["RS256", "ES256"]
Issuer = Literal["host", "url", "slash"]
"""login.eveonline.com, https://login.eveonline.com, https://login.eveonline.com/"""
WrongToken = Literal[
    "application", "audience", "issuer", "expired", "subject", "key", "none", "hmac"
]
"""For another application; without EVE as audience; by another issuer; over; not of a character;
signed with a key that isn't the SSO's, not at all, with the public key as HMAC's secret."""

MAX_SKIPPED = 0.9
"""Maximum fraction of sequence numbers without a new killmail."""


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of sequence numbers without files: permanently, or until `late_s` after their release.

    A permanently absent number has no killmail; the killmail gets a later number.
    """

    first: Count
    count: Annotated[int, Meta(ge=1, le=100_000)]
    late_s: Seconds | None = None

    def contains(self, sequence: int) -> bool:
        """Return whether a sequence number is in the run."""
        return 0 <= sequence - self.first < self.count


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The current behaviour of the stand-in. The defaults have no faults, and rate limits.

    A change of one of LAYOUT_FAULTS applies to sequence numbers that weren't requested yet. With
    any faults each killmail of the dataset gets a number: the stand-in loses none.
    """

    limits: Annotated[
        bool,
        Meta(
            description="Enforce the rate limits: R2Z2 15/s, RedisQ 2/s, ESI's tokens per 15 min."
        ),
    ] = True

    r2z2_from_start: Annotated[
        bool,
        Meta(
            description="sequence.json has the first number until it is requested, so that a "
            "reader without a cursor gets the whole dataset; the real one has the newest."
        ),
    ] = True
    r2z2_latency_ms: Annotated[Milliseconds, Meta(description="Delay each answer.")] = 0
    r2z2_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status: 403, 429, 503.")
    ] = None
    r2z2_expire_s: Annotated[Seconds, Meta(description="How long a file exists.")] = 86_400.0
    hole_rate: Annotated[Fraction, Meta(description="Numbers that are 404 permanently.")] = 0.0
    null_rate: Annotated[
        Fraction, Meta(description="Numbers whose file is a placeholder with null id and hash.")
    ] = 0.0
    html_rate: Annotated[
        Fraction, Meta(description="Numbers that answer HTML with status 200 the first time.")
    ] = 0.0
    late_rate: Annotated[
        Fraction, Meta(description="Numbers whose file appears late_s after its release.")
    ] = 0.0
    late_s: Annotated[Seconds, Meta(description="How late those files appear.")] = 20.0
    absent: Annotated[
        tuple[Absent, ...],
        Meta(
            description="Runs of numbers without files, permanently or until late_s after their "
            'release: [{"first": 96000100, "count": 26, "late_s": 20}].'
        ),
    ] = ()
    sequence_behind: Annotated[
        Count,
        Meta(description="How far sequence.json is behind the newest number, beyond up to 50."),
    ] = 0
    sequence_number: Annotated[
        Count | None, Meta(description="A fixed number for sequence.json.")
    ] = None
    sequence_zero_next: Annotated[
        Count, Meta(description="How many of the next sequence.json have number 0; counts down.")
    ] = 0
    duplicate_rate: Annotated[
        Fraction, Meta(description="Numbers that repeat a killmail of the previous 200 numbers.")
    ] = 0.0
    rewrite_rate: Annotated[
        Fraction,
        Meta(description="Files with sequence_updated: the number of a file that they rewrite."),
    ] = 0.0
    shuffle: Annotated[
        Count,
        Meta(description="Choose each killmail at random from the next N of the dataset."),
    ] = 0

    hash_wrong: Annotated[
        tuple[WrongHash, ...],
        Meta(
            description="Wrong hashes in files and packages: any of space, upper, empty, "
            "null, wrong."
        ),
    ] = ()
    hash_wrong_rate: Annotated[Fraction, Meta(description="Numbers with such a hash.")] = 1.0
    body_wrong: Annotated[
        tuple[WrongBody, ...],
        Meta(description="Wrong bodies in files: any of null, list, object, text, absent."),
    ] = ()
    body_wrong_rate: Annotated[Fraction, Meta(description="Numbers with such a body.")] = 1.0
    zkb_list_rate: Annotated[Fraction, Meta(description="Numbers whose zkb is an empty list.")] = (
        0.0
    )

    redisq_from_start: Annotated[
        bool,
        Meta(description="A new queue gets the whole dataset; the real one only later killmails."),
    ] = True
    redisq_embedded: Annotated[
        bool, Meta(description="Embed the killmail in the package, as RedisQ did until 2025-12-01.")
    ] = False
    redisq_evekill: Annotated[
        bool,
        Meta(
            description="Answer as EVE-KILL's server: without a redirect, and with a body that "
            "isn't ESI's (no items, 0 for absent ids)."
        ),
    ] = False
    redisq_delay: Annotated[
        bool,
        Meta(description="Wait 0.5 to 1.5 s before each package (3 s before the sunset's 403)."),
    ] = False
    redisq_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status: 503.")
    ] = None
    redisq_sunset: Annotated[
        bool, Meta(description="Answer each poll with the 403 of the retired service.")
    ] = False
    redisq_object_wrong: Annotated[
        tuple[WrongObject, ...],
        Meta(description="How object.php fails at first: any of 429, 503, cut, utf8."),
    ] = ()
    redisq_object_wrong_rate: Annotated[
        Fraction, Meta(description="Objects that fail in this way.")
    ] = 1.0
    redisq_object_wrong_first: Annotated[
        Count, Meta(description="How many of the first requests for each such object fail.")
    ] = 1

    esi_latency_ms: Annotated[Milliseconds, Meta(description="Delay each answer.")] = 0
    esi_error_rate: Annotated[
        Fraction, Meta(description="Answers that are esi_error_status instead.")
    ] = 0.0
    esi_fail_next: Annotated[
        Count,
        Meta(description="How many of the next answers are esi_error_status; counts down."),
    ] = 0
    esi_error_status: Annotated[
        ErrorStatus, Meta(description="The status of failing answers: 502, 503 or 504.")
    ] = 502
    esi_wrong: Annotated[
        tuple[WrongAnswer, ...],
        Meta(
            description="Wrong answers for existing killmails: any of 404, 422, html, empty, cut."
        ),
    ] = ()
    esi_wrong_rate: Annotated[Fraction, Meta(description="Answers that are wrong in this way.")] = (
        1.0
    )
    esi_killmail_status: Annotated[
        dict[int, KillmailStatus],
        Meta(description='Killmails with a permanent status: {"140000000": 403}, or 301, 410.'),
    ] = {}
    esi_token_status: Annotated[
        ErrorStatus | None,
        Meta(
            description="Answer a request without a valid token with this status; else 401 "
            "without any, 403 with an expired or revoked one."
        ),
    ] = None
    esi_moved: Annotated[
        dict[int, int],
        Meta(description='Characters and the corporation they went to: {"2112000000": 98000001}.'),
    ] = {}
    esi_deleted: Annotated[
        dict[int, Deleted],
        Meta(description='Deleted characters, in "doomheim" or "404": {"2112000000": "404"}.'),
    ] = {}
    esi_not_director: Annotated[
        tuple[int, ...], Meta(description="Characters who lost the role of a director.")
    ] = ()
    esi_closed: Annotated[
        tuple[int, ...], Meta(description="Corporations that are closed: no members, no alliance.")
    ] = ()
    esi_members: Annotated[
        dict[int, Count], Meta(description='Member counts of corporations: {"98000001": 250}.')
    ] = {}
    tranquility_down: Annotated[
        bool, Meta(description="The game server is down: 504, and 503 from /status.")
    ] = False
    sso_latency_ms: Annotated[
        Milliseconds, Meta(description="Hold back each answer, after what was asked is done.")
    ] = 0
    sso_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status: 502, 503.")
    ] = None
    sso_fail_next: Annotated[
        Count, Meta(description="How many of the next refreshes are refused; counts down.")
    ] = 0
    sso_error: Annotated[
        SsoError,
        Meta(
            description="What those are answered: token, grant, migrate (invalid_grant), expired, "
            "client (invalid_token), credentials (401) or unavailable (503)."
        ),
    ] = "token"
    sso_repeats: Annotated[
        bool, Meta(description="Refusals of tokens repeat the code or refresh token in their text.")
    ] = False
    sso_lost_next: Annotated[
        Count,
        Meta(
            description="How many of the next token answers are lost on their way, after what was "
            "asked is done; counts down."
        ),
    ] = 0
    sso_rotation: Annotated[
        bool, Meta(description="Give another refresh token with each refresh; the old one is dead.")
    ] = False
    sso_refresh_token_s: Annotated[
        Seconds | None, Meta(description="How long a refresh token lasts; else for ever.")
    ] = None
    sso_token_s: Annotated[
        int, Meta(ge=1, le=86_400, description="How long an access token lasts.")
    ] = 1_200
    sso_token_wrong: Annotated[
        tuple[WrongToken, ...],
        Meta(
            description="What is wrong with access tokens, all at once: any of application, "
            "audience, issuer, expired, subject, key, none, hmac. ESI takes none of these."
        ),
    ] = ()
    sso_alg: Annotated[SsoAlgorithm, Meta(description="What signs: RS256 or ES256.")] = "RS256"
    sso_issuer: Annotated[
        Issuer, Meta(description="The issuer's form in access tokens: host, url, slash.")
    ] = "url"
    sso_sold: Annotated[
        tuple[int, ...], Meta(description="Characters that have another owner by now.")
    ] = ()
    names_refused: Annotated[
        bool,
        Meta(description="Answer 404 to batches of names with a character or a corporation."),
    ] = False
    renamed: Annotated[
        dict[int, str], Meta(description='Names that changed: {"2112000000": "New Name"}.')
    ] = {}
    unknown_ids: Annotated[
        tuple[int, ...],
        Meta(
            description="Ids that ESI doesn't know: /universe/names and /characters/affiliation "
            "refuse each batch with one, the others answer 404."
        ),
    ] = ()

    history_wrong_hash: Annotated[
        tuple[int, ...],
        Meta(description="killmail_ids of which R2Z2's history lists a wrong hash."),
    ] = ()
    history_without_body: Annotated[
        tuple[int, ...],
        Meta(description="killmail_ids of which R2Z2's history has the hash and no body."),
    ] = ()

    everef_latency_ms: Annotated[Milliseconds, Meta(description="Delay each answer.")] = 0
    everef_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status.")
    ] = None
    everef_wrong: Annotated[
        WrongDay | None,
        Meta(
            description="Serve wrong archives: html (a page), cut (half of it), file (one that"
            " isn't a killmail)."
        ),
    ] = None

    zkillboard_latency_ms: Annotated[Milliseconds, Meta(description="Delay each answer.")] = 0
    zkillboard_status: Annotated[
        ErrorStatus | None,
        Meta(description="Answer everything with this status: 503 is its reinforced mode."),
    ] = None
    zkillboard_pace: Annotated[
        bool,
        Meta(description="Refuse more than one request per second with 429; else they count only."),
    ] = False

    sde_latency_ms: Annotated[Milliseconds, Meta(description="Delay each answer.")] = 0
    sde_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status: 503.")
    ] = None
    sde_build: Annotated[
        Count, Meta(description="The build number of the archive; another is another archive.")
    ] = 3_000_000
    sde_wrong: Annotated[
        tuple[WrongArchive, ...],
        Meta(description="What is wrong with the archive: any of html, cut, rows, twice, file."),
    ] = ()


LAYOUT_FAULTS = (
    "hole_rate", "null_rate", "duplicate_rate", "rewrite_rate", "shuffle", "absent"
)  # fmt: skip
"""Switches that change the assignment of killmails to numbers."""
COUNTDOWNS = ("esi_fail_next", "sequence_zero_next", "sso_fail_next", "sso_lost_next")


def changed(faults: Faults, changes: Any) -> Faults:
    """Return the switches with some changes.

    Shape of changes: {"hole_rate": 0.05, "limits": false}; the other switches don't change.

    Raises:
        Misconfigured: a name is unknown, or a value has a wrong type or is out of range.
    """
    if not isinstance(changes, dict):
        raise Misconfigured("faults are a JSON object of switch names and values")
    try:
        current = msgspec.structs.asdict(faults)
        faults = msgspec.convert(msgspec.to_builtins(current) | changes, Faults, str_keys=True)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"no such fault: {error}") from None
    skipped = faults.hole_rate + faults.null_rate + faults.duplicate_rate
    if skipped > MAX_SKIPPED:
        raise Misconfigured(
            f"hole_rate, null_rate and duplicate_rate together are {skipped:g}, over {MAX_SKIPPED}"
        )
    return faults
