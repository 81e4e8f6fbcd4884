"""The switches: each way in which the upstreams are known to misbehave."""

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
"""A hash with a space behind it, in upper case, empty, null, or another killmail's."""
WrongBody = Literal["null", "list", "object", "text", "absent"]
"""`esi` as null, [], {}, "" or not there: the body has to be fetched."""
WrongAnswer = Literal["404", "422", "html", "empty", "cut"]
"""A refusal of a killmail that exists; 200 with a page, with nothing, with half of the JSON."""
Deleted = Literal["doomheim", "404"]
"""A deleted character sits in the corporation Doomheim, or isn't there at all."""
WrongObject = Literal["429", "503", "cut", "utf8"]
"""A refusal; 200 with half of the JSON, or with bytes that are no UTF-8."""

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
"""Most sequence numbers that may hold no new killmail; beyond it a dataset would hardly get on."""


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of sequence numbers without files: for ever, or until `late_s` after they were due.

    Numbers that stay absent for ever take no killmail with them: it comes at a later number.
    """

    first: Count
    count: Annotated[int, Meta(ge=1, le=100_000)]
    late_s: Seconds | None = None

    def holds(self, sequence: int) -> bool:
        """Tell whether a sequence number lies in the run."""
        return 0 <= sequence - self.first < self.count


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the stand-in behaves now. The defaults are a good day on which limits hold.

    A change of one of LAYOUT_FAULTS applies to the sequence numbers that nobody has asked for yet.
    Whatever they say, each killmail of the dataset is played at some number: nothing is ever lost
    by the stand-in.
    """

    limits: Annotated[
        bool,
        Meta(description="Hold the rate limits: R2Z2 15/s, RedisQ 2/s, ESI's tokens per 15 min."),
    ] = True

    r2z2_from_start: Annotated[
        bool,
        Meta(
            description="Let sequence.json name the first number until that one is asked for, so "
            "that a reader without a cursor gets the whole dataset; the real one names the tip."
        ),
    ] = True
    r2z2_latency_ms: Annotated[Milliseconds, Meta(description="Hold back each answer.")] = 0
    r2z2_status: Annotated[
        ErrorStatus | None, Meta(description="Answer everything with this status: 403, 429, 503.")
    ] = None
    r2z2_expire_s: Annotated[Seconds, Meta(description="How long a file stays.")] = 86_400.0
    hole_rate: Annotated[Fraction, Meta(description="Numbers that stay 404 for ever.")] = 0.0
    null_rate: Annotated[
        Fraction, Meta(description="Numbers whose file is a placeholder with null id and hash.")
    ] = 0.0
    html_rate: Annotated[
        Fraction, Meta(description="Numbers that answer HTML with status 200 the first time.")
    ] = 0.0
    late_rate: Annotated[
        Fraction, Meta(description="Numbers whose file comes late_s after it was due.")
    ] = 0.0
    late_s: Annotated[Seconds, Meta(description="How late those files come.")] = 20.0
    absent: Annotated[
        tuple[Absent, ...],
        Meta(
            description="Runs of numbers without files, for ever or until late_s after they were "
            'due: [{"first": 96000100, "count": 26, "late_s": 20}].'
        ),
    ] = ()
    sequence_behind: Annotated[
        Count,
        Meta(description="How far below the tip the number in sequence.json lies, beyond 50."),
    ] = 0
    sequence_number: Annotated[
        Count | None, Meta(description="The number that sequence.json names, whatever the tip is.")
    ] = None
    sequence_zero_next: Annotated[
        Count, Meta(description="How many of the next sequence.json name number 0; counts down.")
    ] = 0
    duplicate_rate: Annotated[
        Fraction, Meta(description="Numbers that repeat a killmail of the 200 numbers before.")
    ] = 0.0
    rewrite_rate: Annotated[
        Fraction,
        Meta(
            description="Files that carry sequence_updated: an older file, rewritten from then on."
        ),
    ] = 0.0
    shuffle: Annotated[
        Count,
        Meta(description="Draw each killmail from the next N of the dataset, not in order."),
    ] = 0

    hash_wrong: Annotated[
        tuple[WrongHash, ...],
        Meta(
            description="What hashes in files and packages look like: any of space, upper, empty, "
            "null, wrong."
        ),
    ] = ()
    hash_wrong_rate: Annotated[Fraction, Meta(description="Numbers with such a hash.")] = 1.0
    body_wrong: Annotated[
        tuple[WrongBody, ...],
        Meta(description="What a file has for its body: any of null, list, object, text, absent."),
    ] = ()
    body_wrong_rate: Annotated[Fraction, Meta(description="Numbers with such a body.")] = 1.0
    zkb_list_rate: Annotated[Fraction, Meta(description="Numbers whose zkb is an empty list.")] = (
        0.0
    )

    redisq_from_start: Annotated[
        bool,
        Meta(description="Give a new queue the whole dataset; the real one only what comes after."),
    ] = True
    redisq_embedded: Annotated[
        bool, Meta(description="Embed the killmail in the package, as RedisQ did until 2025-12-01.")
    ] = False
    redisq_evekill: Annotated[
        bool,
        Meta(
            description="Answer as EVE-KILL's server does: without a redirect, with a body of its "
            "own making (no items, 0 for absent ids)."
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
    redisq_object_wrong_rate: Annotated[Fraction, Meta(description="Objects that fail so.")] = 1.0
    redisq_object_wrong_first: Annotated[
        Count, Meta(description="How many requests for each such object fail.")
    ] = 1

    esi_latency_ms: Annotated[Milliseconds, Meta(description="Hold back each answer.")] = 0
    esi_error_rate: Annotated[
        Fraction, Meta(description="Answers that are esi_error_status instead.")
    ] = 0.0
    esi_fail_next: Annotated[
        Count,
        Meta(description="How many of the next answers are esi_error_status; counts down."),
    ] = 0
    esi_error_status: Annotated[
        ErrorStatus, Meta(description="What a failing answer says: 502, 503 or 504.")
    ] = 502
    esi_wrong: Annotated[
        tuple[WrongAnswer, ...],
        Meta(
            description="What good killmails are answered with: any of 404, 422, html, empty, cut."
        ),
    ] = ()
    esi_wrong_rate: Annotated[Fraction, Meta(description="Answers that are wrong so.")] = 1.0
    esi_killmail_status: Annotated[
        dict[int, KillmailStatus],
        Meta(description='Killmails with one answer for ever: {"140000000": 403}, or 301, 410.'),
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
        Meta(description="Answer 404 to names of which one is a character or a corporation."),
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

    zkillboard_latency_ms: Annotated[Milliseconds, Meta(description="Hold back each answer.")] = 0
    zkillboard_status: Annotated[
        ErrorStatus | None,
        Meta(description="Answer everything with this status: 503 is its reinforced mode."),
    ] = None
    zkillboard_pace: Annotated[
        bool,
        Meta(description="Refuse more than one request per second with 429; else they count only."),
    ] = False


LAYOUT_FAULTS = (
    "hole_rate", "null_rate", "duplicate_rate", "rewrite_rate", "shuffle", "absent"
)  # fmt: skip
"""Switches that decide which number holds what."""
COUNTDOWNS = ("esi_fail_next", "sequence_zero_next", "sso_fail_next", "sso_lost_next")


def changed(faults: Faults, changes: Any) -> Faults:
    """Return the switches with some of them set anew.

    Shape of changes: {"hole_rate": 0.05, "limits": false}; what isn't named stays as it is.

    Raises:
        Misconfigured: an unknown name, a wrong type or a value out of range; says which.
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
