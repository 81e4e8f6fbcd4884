-- The whole database at a glance (PostgreSQL). `killstream migrate` makes it; a test keeps this file,
-- the SQLModel tables and the migrations equal.

-- One killmail: what it is found by, zKillboard's block, and ESI's body exactly as it came.
CREATE TABLE killmails (
    killmail_id            BIGINT PRIMARY KEY,
    killmail_hash          TEXT NOT NULL,
    killmail_time          TIMESTAMPTZ NOT NULL,
    solar_system_id        BIGINT NOT NULL,
    moon_id                BIGINT,
    war_id                 BIGINT,
    victim_character_id    BIGINT,           -- absent for structures
    victim_corporation_id  BIGINT,
    victim_alliance_id     BIGINT,
    victim_faction_id      BIGINT,
    victim_ship_type_id    BIGINT NOT NULL,
    victim_damage_taken    BIGINT NOT NULL,
    attacker_count         BIGINT NOT NULL,
    zkb                    BYTEA,            -- zKillboard's JSON (labels, values, points), compressed as body; or null
    body                   BYTEA NOT NULL,   -- ESI's JSON, one zstd frame; see dictionaries
    body_as_of             TIMESTAMPTZ NOT NULL, -- the time of this version of the body; a later one wins
    zkb_as_of              TIMESTAMPTZ,      -- the same of zkb
    created_at             TIMESTAMPTZ NOT NULL, -- when it was stored here
    total_value            DOUBLE PRECISION  -- zKillboard's, in ISK; null: unknown
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01
);
CREATE INDEX killmails_newest ON killmails (killmail_time, killmail_id);
CREATE INDEX killmails_created ON killmails USING brin (created_at);
CREATE INDEX killmails_value ON killmails (total_value, killmail_id) WHERE total_value IS NOT NULL;

-- The zstd dictionaries that bodies and zkb blocks are compressed with, each trained from killmails stored here.
-- Never delete one: what names its id in its frame can't be read without it.
CREATE TABLE dictionaries (
    version          BIGINT PRIMARY KEY,     -- the highest is used for what is stored
    dictionary_id    BIGINT NOT NULL UNIQUE, -- random; in the header of each frame
    dictionary       BYTEA NOT NULL,
    killmails        BIGINT NOT NULL,        -- how many it was trained from
    created_at       TIMESTAMPTZ NOT NULL,
    recompressed_to  BIGINT                  -- older bodies are, up to this killmail_id; null: all are
);

-- One attacker of one killmail, for questions in SQL: Killstream itself reads the body. Read it by killmail or
-- by a range of killmail ids. An id that doesn't fit is null, another number the nearest that does.
CREATE TABLE attackers (
    killmail_id      INTEGER NOT NULL,
    ordinal          SMALLINT NOT NULL,      -- from 0, in ESI's order
    final_blow       BOOLEAN NOT NULL,
    character_id     BIGINT,
    corporation_id   INTEGER,
    alliance_id      INTEGER,
    faction_id       INTEGER,
    ship_type_id     INTEGER,
    weapon_type_id   INTEGER,
    damage_done      INTEGER NOT NULL,
    security_status  REAL NOT NULL
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01
);
CREATE INDEX attackers_killmail ON attackers USING brin (killmail_id) WITH (autosummarize = on);

-- The killmails in one window of ids that have one term (what is in a killmail, and in which role):
-- an index over all conditions. `actors/shared/finding` makes the keys and reads the rows.
CREATE TABLE postings (
    key     BIGINT PRIMARY KEY,              -- kind (5 bits), id (37 bits), window of killmail ids (21 bits)
    top     SMALLINT NOT NULL,               -- the highest of `worths`
    places  BYTEA NOT NULL,                  -- for each killmail its id within the window: 2 bytes, little endian
    worths  BYTEA NOT NULL                   -- for each killmail the code of its total value: 1 byte
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- zKillboard's labels, numbered for `postings`.
CREATE TABLE labels (
    label_id  BIGINT PRIMARY KEY,
    label     TEXT NOT NULL UNIQUE
);

-- The lowest and highest id of a day's killmails: a range of time is searched between two ids.
CREATE TABLE killmail_days (
    day                DATE PRIMARY KEY,
    first_killmail_id  BIGINT NOT NULL,
    last_killmail_id   BIGINT NOT NULL
);

-- The one row that says whether all killmails have their postings: not so after the upgrade of a
-- database with killmails, until `killstream check --repair` has run through.
CREATE TABLE postings_state (
    "only"                     BIGINT PRIMARY KEY,
    complete                   BOOLEAN NOT NULL,
    universe_loaded_at         TIMESTAMPTZ,  -- of the universe by which all are listed
    repair_universe_loaded_at  TIMESTAMPTZ   -- of the one by which the repair under way lists them
);

-- The blocks of 65,536 killmail ids that the repair under way has done; it goes on from there.
CREATE TABLE repaired_blocks (
    block      BIGINT PRIMARY KEY,
    row_count  BIGINT NOT NULL               -- rows of `postings` that it should have
);

-- One entry of the feed: gapless, in commit order, never changed; the cursor of every client.
CREATE TABLE feed (
    sequence     BIGINT PRIMARY KEY,
    killmail_id  BIGINT,                     -- null: imported
    kind         TEXT NOT NULL,              -- added | updated | imported
    stored_at    TIMESTAMPTZ NOT NULL,
    origin       TEXT NOT NULL DEFAULT 'live' -- live | sync | import: what brought it
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01
);

-- What the feed's entries of the kind imported say: a day's killmails were stored from an archive.
CREATE TABLE imported_days (
    sequence  BIGINT PRIMARY KEY,
    day       DATE NOT NULL,                 -- of killmail_time, UTC
    source    TEXT NOT NULL,                 -- everef | r2z2
    added     BIGINT NOT NULL,
    total     BIGINT NOT NULL                -- how many the archive has
);

-- Days whose history was requested from an archive, and how far the import of each is.
CREATE TABLE history_days (
    day           DATE PRIMARY KEY,
    source        TEXT NOT NULL,             -- everef | r2z2
    state         TEXT NOT NULL,             -- waiting | done | failed
    state_reason  TEXT,
    total         BIGINT,                    -- how many the archive has; null: not known yet
    added         BIGINT NOT NULL DEFAULT 0,
    rejected      BIGINT NOT NULL DEFAULT 0, -- what isn't a killmail, see the table rejected
    requested_at  TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    next_try_at   TIMESTAMPTZ NOT NULL,      -- while waiting: when a message for it is sent (again)
    lease         TEXT,                      -- random, of the process that imports it
    leased_until  TIMESTAMPTZ NOT NULL,      -- when another process may go on
    downloading_until  TIMESTAMPTZ           -- the archive is being downloaded; few are at once
);
CREATE INDEX history_days_due ON history_days (state, next_try_at);

-- Days as the audit found them last: what zKillboard has and we lack.
CREATE TABLE completeness_days (
    day             DATE PRIMARY KEY,
    upstream_total  BIGINT NOT NULL,         -- killmails that zKillboard has
    have            BIGINT NOT NULL,         -- of these, how many are stored
    missing         BIGINT NOT NULL DEFAULT 0,
    hash_differs    BIGINT NOT NULL DEFAULT 0, -- stored, with another hash than zKillboard's
    repaired        BIGINT NOT NULL DEFAULT 0, -- missing while under repair, and stored since, by it or not
    state           TEXT NOT NULL,           -- complete | repairing | incomplete | not_imported
    repair          TEXT,                    -- esi | archive: the last way that was tried
    checked_at      TIMESTAMPTZ NOT NULL,
    next_check_at   TIMESTAMPTZ NOT NULL
);

-- Killmails that zKillboard names and nobody gives.
CREATE TABLE unobtainable (
    killmail_id    BIGINT PRIMARY KEY,
    killmail_hash  TEXT NOT NULL,
    day            DATE NOT NULL,
    reason         TEXT NOT NULL,
    recorded_at    TIMESTAMPTZ NOT NULL
);
CREATE INDEX unobtainable_day ON unobtainable (day);

-- When the next request to an upstream may be sent, of all processes together; far ahead: it bans this address.
CREATE TABLE request_turns (
    upstream  TEXT PRIMARY KEY,
    next_at   TIMESTAMPTZ NOT NULL
);

-- Entries of the feed that topic and channel may not have yet: publishing deletes the row.
CREATE TABLE unpublished (
    sequence  BIGINT PRIMARY KEY
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000, vacuum_truncate = false
);

-- The one row that numbers the feed: lock and counter in one, updated last before a commit.
CREATE TABLE feed_counter (
    "only"         BIGINT PRIMARY KEY,
    last_sequence  BIGINT NOT NULL,
    feed_id        TEXT NOT NULL             -- random, made with the database: tells two feeds apart
);

-- Names by id, as ESI gave them; a null name is an id that ESI doesn't know.
CREATE TABLE names (
    id          BIGINT PRIMARY KEY,
    name        TEXT,
    category    TEXT,
    checked_at  TIMESTAMPTZ NOT NULL         -- by ESI; asked for again after days
);
CREATE INDEX names_search ON names (category, lower(name) text_pattern_ops); -- on SQLite: name COLLATE NOCASE

-- How far each source was read; committed together with the ledger.
CREATE TABLE cursors (
    source         TEXT PRIMARY KEY,         -- kind and host: r2z2:HOST, redisq:HOST/QUEUE
    position       BIGINT,                   -- null: nothing was read yet
    updated_at     TIMESTAMPTZ NOT NULL,     -- when `position` changed last
    tip            BIGINT,                   -- the newest position that the upstream is known to have
    checked_at     TIMESTAMPTZ,              -- when the upstream answered last
    fencing_token  BIGINT NOT NULL DEFAULT 0 -- of the process that polls: writes with an older one are refused
);

-- Positions of a source that were read, or should have been, and aren't durable yet. Storing or
-- rejecting a killmail deletes its row in the same transaction; what stays is tried again.
CREATE TABLE ledger (
    source         TEXT NOT NULL,
    position       BIGINT NOT NULL,
    reference      BYTEA,                    -- kept where the upstream gives it only once
    received_at    TIMESTAMPTZ NOT NULL,
    kind           TEXT NOT NULL,            -- received | hole | object
    killmail_id    BIGINT,                   -- known of what was received
    killmail_hash  TEXT,
    object_id      TEXT,                     -- RedisQ's object that is still to be fetched
    tries          BIGINT NOT NULL DEFAULT 0,
    next_try_at    TIMESTAMPTZ NOT NULL,     -- when it is read or sent again
    refusals       BIGINT NOT NULL DEFAULT 0, -- how often ESI refused the killmail
    refused_at     TIMESTAMPTZ,              -- when ESI refused it first
    PRIMARY KEY (source, position)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000, vacuum_truncate = false
);

-- Positions that were passed over for good, for an import of history to fill.
CREATE TABLE gaps (
    source          TEXT NOT NULL,
    first_position  BIGINT NOT NULL,
    last_position   BIGINT NOT NULL,
    reason          TEXT NOT NULL,           -- absent | expired
    recorded_at     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source, first_position)
);

-- What was refused, whole, with the reason.
CREATE TABLE rejected (
    digest       TEXT PRIMARY KEY,           -- SHA-256 of reason and rejection: the same refusal once
    reason       TEXT NOT NULL,
    rejection    BYTEA NOT NULL,
    rejected_at  TIMESTAMPTZ NOT NULL,
    killmail_id  BIGINT                      -- null: unknown, or rejected before there was this column
);
CREATE INDEX rejected_oldest ON rejected (rejected_at);
CREATE INDEX rejected_killmail ON rejected (killmail_id);

-- One person, with one or several characters.
CREATE TABLE accounts (
    account_id  TEXT PRIMARY KEY,
    created_at  TIMESTAMPTZ NOT NULL
);

-- One character that logged in: its account, its login, and the schedule of its sync.
CREATE TABLE users (
    character_id           BIGINT PRIMARY KEY,
    account_id             TEXT NOT NULL,
    character_name         TEXT NOT NULL,
    owner_hash             TEXT NOT NULL,    -- changes when the character is sold
    corporation_id         BIGINT,
    scopes                 TEXT NOT NULL,    -- granted at the last login, separated by spaces
    state                  TEXT NOT NULL,    -- active | login_required
    state_reason           TEXT,
    created_at             TIMESTAMPTZ NOT NULL,
    logged_in_at           TIMESTAMPTZ NOT NULL,
    expires_at             TIMESTAMPTZ,      -- of the access token; it is refreshed when needed
    publication_delay_h    BIGINT NOT NULL DEFAULT 0,
    is_premium             BOOLEAN NOT NULL DEFAULT false, -- synchronized more often
    sync_corporation       BOOLEAN NOT NULL DEFAULT false, -- wanted by the user; needs the Director role
    next_enrollment_at     TIMESTAMPTZ,      -- when corporation and role are looked up
    next_sync_at           TIMESTAMPTZ,      -- null: never
    next_full_sync_at      TIMESTAMPTZ,
    sync_started_at        TIMESTAMPTZ,      -- of the sync that runs now
    first_synced_at        TIMESTAMPTZ,
    last_killmail_sync_at  TIMESTAMPTZ,      -- of the last sync that succeeded
    last_sync_count        BIGINT,           -- killmails that it found new
    last_sync_duration_ms  BIGINT,
    last_sync_error        TEXT,             -- of the last sync; null when it succeeded
    list_expires_at        TIMESTAMPTZ,      -- when ESI may be asked again
    next_page              BIGINT NOT NULL DEFAULT 1 -- of a full sync that was interrupted
);
CREATE INDEX users_of_account ON users (account_id);
CREATE INDEX users_due ON users (next_sync_at);

-- A corporation whose killmails a director's token fetches.
CREATE TABLE corporation_syncs (
    corporation_id         BIGINT NOT NULL,
    character_id           BIGINT NOT NULL,
    state                  TEXT NOT NULL,    -- active | refused
    state_reason           TEXT,
    created_at             TIMESTAMPTZ NOT NULL,
    next_sync_at           TIMESTAMPTZ,
    next_full_sync_at      TIMESTAMPTZ,
    sync_started_at        TIMESTAMPTZ,
    first_synced_at        TIMESTAMPTZ,
    last_killmail_sync_at  TIMESTAMPTZ,
    last_sync_count        BIGINT,
    last_sync_duration_ms  BIGINT,
    last_sync_error        TEXT,
    list_expires_at        TIMESTAMPTZ,
    next_page              BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (corporation_id, character_id)
);
CREATE INDEX corporation_syncs_due ON corporation_syncs (next_sync_at);

-- The tokens of one character, encrypted with KILLSTREAM_TOKEN_KEYS.
CREATE TABLE tokens (
    character_id      BIGINT PRIMARY KEY,
    access_token      BYTEA NOT NULL,
    refresh_token     BYTEA,
    refreshing_until  TIMESTAMPTZ,           -- lease of the process that refreshes them
    updated_at        TIMESTAMPTZ NOT NULL
);

-- Logins that were begun; the callback deletes its row, so that a state is used once.
CREATE TABLE login_states (
    state_hash   TEXT PRIMARY KEY,           -- SHA-256
    client_hash  TEXT NOT NULL,              -- of what binds the state to who began the login
    verifier     BYTEA NOT NULL,             -- PKCE's, encrypted
    account_id   TEXT,                       -- the account that the character is added to
    expires_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX login_states_expired ON login_states (expires_at);

-- Sessions and API keys of accounts; the tokens themselves aren't stored.
CREATE TABLE sessions (
    token_hash  TEXT PRIMARY KEY,            -- SHA-256
    account_id  TEXT NOT NULL,
    kind        TEXT NOT NULL,               -- browser | bearer | api_key
    name        TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ,
    used_at     TIMESTAMPTZ NOT NULL
);
CREATE INDEX sessions_of_account ON sessions (account_id);
CREATE INDEX sessions_expired ON sessions (expires_at);

-- Killmails that a character's sync, its corporation's sync or an import listed.
CREATE TABLE user_killmails (
    character_id  BIGINT NOT NULL,
    killmail_id   BIGINT NOT NULL,
    source        TEXT NOT NULL,             -- as in the ledger: esi:character/ID, …
    PRIMARY KEY (character_id, killmail_id, source)
);
CREATE INDEX user_killmails_of_killmail ON user_killmails (killmail_id);

-- Killmails whose publication is delayed: nothing but their owners' queries reads them.
CREATE TABLE delayed (
    killmail_id    BIGINT PRIMARY KEY,
    killmail_time  TIMESTAMPTZ NOT NULL,
    reference      BYTEA NOT NULL,           -- whole, with the body
    publish_at     TIMESTAMPTZ NOT NULL
);
CREATE INDEX delayed_due ON delayed (publish_at);

-- Imports of an entity's history from zKillboard, and how far each is.
CREATE TABLE imports (
    entity        TEXT NOT NULL,             -- character | corporation | alliance
    entity_id     BIGINT NOT NULL,
    requested_by  BIGINT,                    -- the character; null: an operator
    state         TEXT NOT NULL,             -- running | done | failed
    state_reason  TEXT,
    next_page     BIGINT NOT NULL,
    killmails     BIGINT NOT NULL DEFAULT 0,
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    next_try_at   TIMESTAMPTZ NOT NULL,      -- when its next page is due; one import runs at a time
    PRIMARY KEY (entity, entity_id)
);

-- What operators have paused: the queue's messages wait, or the source isn't polled.
CREATE TABLE pauses (
    name       TEXT PRIMARY KEY,             -- a queue without its namespace, or: source
    paused_at  TIMESTAMPTZ NOT NULL
);

-- Characters, corporations, alliances and types, as ESI describes them, and when each is refreshed.
CREATE TABLE characters (
    character_id             BIGINT PRIMARY KEY,
    state                    TEXT NOT NULL DEFAULT 'unknown', -- unknown | active | deleted
    corporation_id           BIGINT,
    alliance_id              BIGINT,
    faction_id               BIGINT,
    seen_at                  TIMESTAMPTZ,      -- in a live killmail
    next_refresh_at          TIMESTAMPTZ,      -- null: nobody waits for it
    requested_at             TIMESTAMPTZ,
    updated_at               TIMESTAMPTZ,      -- when ESI answered last
    expires_at               TIMESTAMPTZ,      -- when ESI may be asked again
    refused_at               TIMESTAMPTZ       -- when ESI refused it first, after its last answer
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
CREATE INDEX characters_due ON characters (next_refresh_at);
CREATE INDEX characters_requested ON characters (requested_at);

-- Where a character belonged from a time on, as ESI said then.
CREATE TABLE affiliations (
    character_id    BIGINT NOT NULL,
    since           TIMESTAMPTZ NOT NULL,
    corporation_id  BIGINT NOT NULL,
    alliance_id     BIGINT,
    faction_id      BIGINT,
    PRIMARY KEY (character_id, since)
);

CREATE TABLE corporations (
    corporation_id           BIGINT PRIMARY KEY,
    state                    TEXT NOT NULL DEFAULT 'unknown', -- unknown | active | closed | absent
    name                     TEXT,
    ticker                   TEXT,
    member_count             BIGINT,
    alliance_id              BIGINT,
    faction_id               BIGINT,
    ceo_id                   BIGINT,
    creator_id               BIGINT,
    date_founded             TIMESTAMPTZ,
    home_station_id          BIGINT,
    tax_rate                 DOUBLE PRECISION, -- of ISK, in percent: 0 to 100
    war_eligible             BOOLEAN,
    url                      TEXT,
    description              TEXT,
    etag                     TEXT,
    seen_at                  TIMESTAMPTZ,      -- in a live killmail
    next_refresh_at          TIMESTAMPTZ,      -- null: nobody waits for it
    requested_at             TIMESTAMPTZ,
    updated_at               TIMESTAMPTZ,      -- when ESI answered last
    expires_at               TIMESTAMPTZ,      -- when ESI may be asked again
    refused_at               TIMESTAMPTZ       -- when ESI refused it first, after its last answer
);
CREATE INDEX corporations_due ON corporations (next_refresh_at);
CREATE INDEX corporations_requested ON corporations (requested_at);
CREATE INDEX corporations_of_alliance ON corporations (alliance_id);

CREATE TABLE alliances (
    alliance_id              BIGINT PRIMARY KEY,
    state                    TEXT NOT NULL DEFAULT 'unknown', -- unknown | active | closed | absent
    name                     TEXT,
    ticker                   TEXT,
    creator_id               BIGINT,
    creator_corporation_id   BIGINT,
    executor_corporation_id  BIGINT,
    faction_id               BIGINT,
    date_founded             TIMESTAMPTZ,
    etag                     TEXT,
    corporations_etag        TEXT,
    seen_at                  TIMESTAMPTZ,      -- in a live killmail
    next_refresh_at          TIMESTAMPTZ,      -- null: nobody waits for it
    requested_at             TIMESTAMPTZ,
    updated_at               TIMESTAMPTZ,      -- when ESI answered last
    expires_at               TIMESTAMPTZ,      -- when ESI may be asked again
    refused_at               TIMESTAMPTZ       -- when ESI refused it first, after its last answer
);
CREATE INDEX alliances_due ON alliances (next_refresh_at);
CREATE INDEX alliances_requested ON alliances (requested_at);

CREATE TABLE alliance_corporations (
    alliance_id     BIGINT NOT NULL,
    corporation_id  BIGINT NOT NULL,
    PRIMARY KEY (alliance_id, corporation_id)
);

CREATE TABLE types (
    type_id                  BIGINT PRIMARY KEY,
    state                    TEXT NOT NULL DEFAULT 'unknown', -- unknown | active | absent
    name                     TEXT,
    group_id                 BIGINT,
    market_group_id          BIGINT,
    published                BOOLEAN,
    volume                   DOUBLE PRECISION,
    packaged_volume          DOUBLE PRECISION,
    mass                     DOUBLE PRECISION,
    capacity                 DOUBLE PRECISION,
    etag                     TEXT,
    seen_at                  TIMESTAMPTZ,      -- in a live killmail
    next_refresh_at          TIMESTAMPTZ,      -- null: nobody waits for it
    requested_at             TIMESTAMPTZ,
    updated_at               TIMESTAMPTZ,      -- when ESI answered last
    expires_at               TIMESTAMPTZ,      -- when ESI may be asked again
    refused_at               TIMESTAMPTZ       -- when ESI refused it first, after its last answer
);
CREATE INDEX types_due ON types (next_refresh_at);
CREATE INDEX types_requested ON types (requested_at);

-- Lists that ESI gives as a whole: alliances.
CREATE TABLE esi_lists (
    name          TEXT PRIMARY KEY,
    etag          TEXT,
    requested_at  TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ,
    expires_at    TIMESTAMPTZ
);

-- How far the actors have read the feed, for entities and days that are seen in it.
CREATE TABLE feed_readers (
    name      TEXT PRIMARY KEY,
    sequence  BIGINT NOT NULL
);

-- Days (UTC) with killmails. One that changed after its snapshots were computed is computed anew.
CREATE TABLE snapshot_days (
    day          DATE PRIMARY KEY,
    changed_at   TIMESTAMPTZ NOT NULL,
    computed_at  TIMESTAMPTZ
);

-- Alliances and corporations by day; members and corporations are null for days without ESI's word.
CREATE TABLE alliance_snapshots (
    alliance_id      BIGINT NOT NULL,
    day              DATE NOT NULL,
    members          BIGINT,
    corporations     BIGINT,
    kills            BIGINT NOT NULL DEFAULT 0,
    losses           BIGINT NOT NULL DEFAULT 0,
    ships_destroyed  BIGINT NOT NULL DEFAULT 0, -- piloted ones, without capsules
    ships_lost       BIGINT NOT NULL DEFAULT 0,
    isk_destroyed    DOUBLE PRECISION NOT NULL DEFAULT 0,
    isk_lost         DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (alliance_id, day)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
CREATE INDEX alliance_snapshots_of_day ON alliance_snapshots (day);

CREATE TABLE corporation_snapshots (
    corporation_id   BIGINT NOT NULL,
    day              DATE NOT NULL,
    alliance_id      BIGINT,                 -- that day
    members          BIGINT,
    kills            BIGINT NOT NULL DEFAULT 0,
    losses           BIGINT NOT NULL DEFAULT 0,
    ships_destroyed  BIGINT NOT NULL DEFAULT 0, -- piloted ones, without capsules
    ships_lost       BIGINT NOT NULL DEFAULT 0,
    isk_destroyed    DOUBLE PRECISION NOT NULL DEFAULT 0,
    isk_lost         DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (corporation_id, day)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
CREATE INDEX corporation_snapshots_of_day ON corporation_snapshots (day, alliance_id);

-- The static universe, from CCP's archive of static data: this one row says which archive was loaded.
CREATE TABLE universe (
    "only"         BIGINT PRIMARY KEY,
    build_number   BIGINT,                     -- of the archive
    digest         TEXT,                       -- its SHA-256
    source         TEXT,                       -- the URL or file that it came from
    etag           TEXT,                       -- of the URL
    loaded_at      TIMESTAMPTZ,                -- when rows were replaced last; null: not loaded yet
    checked_at     TIMESTAMPTZ,                -- when the URL answered last
    next_check_at  TIMESTAMPTZ NOT NULL,
    tries          BIGINT NOT NULL DEFAULT 0,  -- that failed since it was checked
    last_error     TEXT                        -- of the last check; null when it succeeded
);

-- Names are the English ones. Ids that other rows name may be absent here: the archive has such.
CREATE TABLE universe_categories (
    category_id  BIGINT PRIMARY KEY,           -- 6: ships
    name         TEXT,
    published    BOOLEAN
);

CREATE TABLE universe_groups (
    group_id     BIGINT PRIMARY KEY,
    category_id  BIGINT NOT NULL,
    name         TEXT,
    published    BOOLEAN
);

CREATE TABLE universe_types (
    type_id    BIGINT PRIMARY KEY,
    group_id   BIGINT NOT NULL,
    name       TEXT,
    published  BOOLEAN
);

CREATE TABLE regions (
    region_id  BIGINT PRIMARY KEY,
    name       TEXT
);

CREATE TABLE constellations (
    constellation_id  BIGINT PRIMARY KEY,
    region_id         BIGINT NOT NULL,
    name              TEXT
);

CREATE TABLE solar_systems (
    solar_system_id   BIGINT PRIMARY KEY,
    constellation_id  BIGINT NOT NULL,
    region_id         BIGINT NOT NULL,
    name              TEXT,
    security_status   DOUBLE PRECISION NOT NULL DEFAULT 0, -- the true one, not rounded
    band              TEXT NOT NULL,           -- high | low | null | wormhole | abyssal | pochven
    x                 DOUBLE PRECISION,        -- metres
    y                 DOUBLE PRECISION,
    z                 DOUBLE PRECISION
);

CREATE TABLE stargates (
    stargate_id                  BIGINT PRIMARY KEY,
    solar_system_id              BIGINT NOT NULL,
    destination_stargate_id      BIGINT NOT NULL,
    destination_solar_system_id  BIGINT NOT NULL
);

CREATE TABLE factions (
    faction_id  BIGINT PRIMARY KEY,
    name        TEXT
);

CREATE TABLE npc_corporations (
    corporation_id  BIGINT PRIMARY KEY,
    faction_id      BIGINT,
    name            TEXT,
    ticker          TEXT
);

-- Each day from the first snapshot to today, with periods of 1, 7 and 30 days that end on it: a period
-- begins after `former_day`, and the one before it after `former_start`.
CREATE VIEW growth_periods AS
SELECT day, days, day - days AS former_day, day - 2 * days AS former_start
FROM (
    SELECT first_day + n AS day
    FROM (
        SELECT min(day) AS first_day, max(day) AS last_day FROM (
            SELECT min(day) AS day FROM alliance_snapshots
            UNION ALL SELECT max(day) FROM alliance_snapshots
            UNION ALL SELECT min(day) FROM corporation_snapshots
            UNION ALL SELECT max(day) FROM corporation_snapshots
            UNION ALL SELECT (now() AT TIME ZONE 'UTC')::date
        ) AS known
    ) AS bounds
    CROSS JOIN generate_series(0, last_day - first_day) AS n
) AS calendar
CROSS JOIN (VALUES (1), (7), (30)) AS periods (days);

-- Alliances and corporations compared with themselves, by day and period. `members` and `corporations`
-- are of the day, and compared with `former_day`; the others are added up over the period, and compared
-- with the period before. `_growth` is the delta as a part of the former value. Choose one id or one day:
-- SELECT day, members_delta FROM alliance_growth WHERE alliance_id = 99000001 AND days = 7 ORDER BY day
CREATE VIEW alliance_growth AS
SELECT
    alliance_id,
    day,
    days,
    members,
    members - former_members AS members_delta,
    CAST(members - former_members AS DOUBLE PRECISION) / nullif(former_members, 0) AS members_growth,
    corporations,
    corporations - former_corporations AS corporations_delta,
    CAST(corporations - former_corporations AS DOUBLE PRECISION) / nullif(former_corporations, 0) AS corporations_growth,
    kills,
    kills - former_kills AS kills_delta,
    CAST(kills - former_kills AS DOUBLE PRECISION) / nullif(former_kills, 0) AS kills_growth,
    losses,
    losses - former_losses AS losses_delta,
    CAST(losses - former_losses AS DOUBLE PRECISION) / nullif(former_losses, 0) AS losses_growth,
    ships_destroyed,
    ships_destroyed - former_ships_destroyed AS ships_destroyed_delta,
    CAST(ships_destroyed - former_ships_destroyed AS DOUBLE PRECISION) / nullif(former_ships_destroyed, 0) AS ships_destroyed_growth,
    ships_lost,
    ships_lost - former_ships_lost AS ships_lost_delta,
    CAST(ships_lost - former_ships_lost AS DOUBLE PRECISION) / nullif(former_ships_lost, 0) AS ships_lost_growth,
    isk_destroyed,
    isk_destroyed - former_isk_destroyed AS isk_destroyed_delta,
    CAST(isk_destroyed - former_isk_destroyed AS DOUBLE PRECISION) / nullif(former_isk_destroyed, 0) AS isk_destroyed_growth,
    isk_lost,
    isk_lost - former_isk_lost AS isk_lost_delta,
    CAST(isk_lost - former_isk_lost AS DOUBLE PRECISION) / nullif(former_isk_lost, 0) AS isk_lost_growth
FROM (
    SELECT
        alliance_id,
        period.day,
        days,
        max(members) FILTER (WHERE snapshot.day = period.day) AS members,
        max(members) FILTER (WHERE snapshot.day = former_day) AS former_members,
        max(corporations) FILTER (WHERE snapshot.day = period.day) AS corporations,
        max(corporations) FILTER (WHERE snapshot.day = former_day) AS former_corporations,
        CAST(coalesce(sum(kills) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS kills,
        CAST(coalesce(sum(kills) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_kills,
        CAST(coalesce(sum(losses) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS losses,
        CAST(coalesce(sum(losses) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_losses,
        CAST(coalesce(sum(ships_destroyed) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS ships_destroyed,
        CAST(coalesce(sum(ships_destroyed) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_ships_destroyed,
        CAST(coalesce(sum(ships_lost) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS ships_lost,
        CAST(coalesce(sum(ships_lost) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_ships_lost,
        CAST(coalesce(sum(isk_destroyed) FILTER (WHERE snapshot.day > former_day), 0) AS DOUBLE PRECISION)
            AS isk_destroyed,
        CAST(coalesce(sum(isk_destroyed) FILTER (WHERE snapshot.day <= former_day), 0) AS DOUBLE PRECISION)
            AS former_isk_destroyed,
        CAST(coalesce(sum(isk_lost) FILTER (WHERE snapshot.day > former_day), 0) AS DOUBLE PRECISION)
            AS isk_lost,
        CAST(coalesce(sum(isk_lost) FILTER (WHERE snapshot.day <= former_day), 0) AS DOUBLE PRECISION)
            AS former_isk_lost
    FROM growth_periods AS period
    JOIN alliance_snapshots AS snapshot
        ON snapshot.day > former_start AND snapshot.day <= period.day
    GROUP BY alliance_id, period.day, days
) AS compared;

CREATE VIEW corporation_growth AS
SELECT
    corporation_id,
    day,
    days,
    members,
    members - former_members AS members_delta,
    CAST(members - former_members AS DOUBLE PRECISION) / nullif(former_members, 0) AS members_growth,
    kills,
    kills - former_kills AS kills_delta,
    CAST(kills - former_kills AS DOUBLE PRECISION) / nullif(former_kills, 0) AS kills_growth,
    losses,
    losses - former_losses AS losses_delta,
    CAST(losses - former_losses AS DOUBLE PRECISION) / nullif(former_losses, 0) AS losses_growth,
    ships_destroyed,
    ships_destroyed - former_ships_destroyed AS ships_destroyed_delta,
    CAST(ships_destroyed - former_ships_destroyed AS DOUBLE PRECISION) / nullif(former_ships_destroyed, 0) AS ships_destroyed_growth,
    ships_lost,
    ships_lost - former_ships_lost AS ships_lost_delta,
    CAST(ships_lost - former_ships_lost AS DOUBLE PRECISION) / nullif(former_ships_lost, 0) AS ships_lost_growth,
    isk_destroyed,
    isk_destroyed - former_isk_destroyed AS isk_destroyed_delta,
    CAST(isk_destroyed - former_isk_destroyed AS DOUBLE PRECISION) / nullif(former_isk_destroyed, 0) AS isk_destroyed_growth,
    isk_lost,
    isk_lost - former_isk_lost AS isk_lost_delta,
    CAST(isk_lost - former_isk_lost AS DOUBLE PRECISION) / nullif(former_isk_lost, 0) AS isk_lost_growth
FROM (
    SELECT
        corporation_id,
        period.day,
        days,
        max(members) FILTER (WHERE snapshot.day = period.day) AS members,
        max(members) FILTER (WHERE snapshot.day = former_day) AS former_members,
        CAST(coalesce(sum(kills) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS kills,
        CAST(coalesce(sum(kills) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_kills,
        CAST(coalesce(sum(losses) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS losses,
        CAST(coalesce(sum(losses) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_losses,
        CAST(coalesce(sum(ships_destroyed) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS ships_destroyed,
        CAST(coalesce(sum(ships_destroyed) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_ships_destroyed,
        CAST(coalesce(sum(ships_lost) FILTER (WHERE snapshot.day > former_day), 0) AS BIGINT)
            AS ships_lost,
        CAST(coalesce(sum(ships_lost) FILTER (WHERE snapshot.day <= former_day), 0) AS BIGINT)
            AS former_ships_lost,
        CAST(coalesce(sum(isk_destroyed) FILTER (WHERE snapshot.day > former_day), 0) AS DOUBLE PRECISION)
            AS isk_destroyed,
        CAST(coalesce(sum(isk_destroyed) FILTER (WHERE snapshot.day <= former_day), 0) AS DOUBLE PRECISION)
            AS former_isk_destroyed,
        CAST(coalesce(sum(isk_lost) FILTER (WHERE snapshot.day > former_day), 0) AS DOUBLE PRECISION)
            AS isk_lost,
        CAST(coalesce(sum(isk_lost) FILTER (WHERE snapshot.day <= former_day), 0) AS DOUBLE PRECISION)
            AS former_isk_lost
    FROM growth_periods AS period
    JOIN corporation_snapshots AS snapshot
        ON snapshot.day > former_start AND snapshot.day <= period.day
    GROUP BY corporation_id, period.day, days
) AS compared;
