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
    as_of                  TIMESTAMPTZ NOT NULL -- the upstream's time of this version; a later one wins
);
CREATE INDEX killmails_newest ON killmails (killmail_time DESC, killmail_id DESC);

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

-- One place in the feed: gapless, in commit order, the cursor of every door.
CREATE TABLE feed (
    sequence     BIGINT PRIMARY KEY,
    killmail_id  BIGINT NOT NULL,
    kind         TEXT NOT NULL,              -- added | updated
    stored_at    TIMESTAMPTZ NOT NULL,
    told_at      TIMESTAMPTZ                 -- null: the sweep still has to tell it
);
CREATE INDEX feed_untold ON feed (sequence) WHERE told_at IS NULL;

-- The one row that numbers the feed: lock and counter in one, updated last before a commit.
CREATE TABLE feed_counter (
    "only"         BIGINT PRIMARY KEY,
    last_sequence  BIGINT NOT NULL
);

-- Names by id, as ESI gave them; a null name is an id that ESI doesn't know.
CREATE TABLE names (
    id          BIGINT PRIMARY KEY,
    name        TEXT,
    category    TEXT,
    checked_at  TIMESTAMPTZ NOT NULL
);

-- How far each source was read; committed together with the ledger.
CREATE TABLE cursors (
    source      TEXT PRIMARY KEY,            -- kind and host: r2z2:HOST, redisq:HOST/QUEUE
    position    BIGINT NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);

-- Places of a source that were read and aren't durable yet. Storing a killmail deletes its row in
-- the same transaction; what stays too long is read again (or sent again, where the row holds it).
CREATE TABLE ledger (
    source       TEXT NOT NULL,
    position     BIGINT NOT NULL,
    reference    BYTEA,                      -- kept where the upstream gives it only once
    received_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (source, position)
);

-- What was refused, whole, with the reason.
CREATE TABLE rejected (
    digest       TEXT PRIMARY KEY,           -- SHA-256 of reason and letter: the same refusal once
    reason       TEXT NOT NULL,
    letter       BYTEA NOT NULL,
    rejected_at  TIMESTAMPTZ NOT NULL
);
