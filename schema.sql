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
    zkb                    JSONB,            -- labels, values, points; absent when ESI was the source
    body                   BYTEA NOT NULL,   -- ESI's JSON, one zstd frame
    body_as_of             TIMESTAMPTZ NOT NULL, -- the time of this version of the body; a later one wins
    zkb_as_of              TIMESTAMPTZ       -- the same of zkb
);
CREATE INDEX killmails_newest ON killmails (killmail_time, killmail_id);

-- One attacker of one killmail, in ESI's order.
CREATE TABLE attackers (
    killmail_id      BIGINT NOT NULL,
    ordinal          BIGINT NOT NULL,
    character_id     BIGINT,
    corporation_id   BIGINT,
    alliance_id      BIGINT,
    faction_id       BIGINT,
    ship_type_id     BIGINT,
    weapon_type_id   BIGINT,
    damage_done      BIGINT NOT NULL,
    final_blow       BOOLEAN NOT NULL,
    security_status  DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (killmail_id, ordinal)
);

-- One entry of the feed: gapless, in commit order, never changed; the cursor of every client.
CREATE TABLE feed (
    sequence     BIGINT PRIMARY KEY,
    killmail_id  BIGINT NOT NULL,
    kind         TEXT NOT NULL,              -- added | updated
    stored_at    TIMESTAMPTZ NOT NULL
);

-- Entries of the feed that topic and channel may not have yet: publishing deletes the row.
CREATE TABLE unpublished (
    sequence  BIGINT PRIMARY KEY
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
    rejected_at  TIMESTAMPTZ NOT NULL
);
