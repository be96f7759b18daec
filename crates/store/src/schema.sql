-- layerkeeper's state, version 1: one SQLite file, `layerkeeper.db` in `[state] dir`.
--
-- Conventions: instants are milliseconds since the Unix epoch (UTC); sizes are bytes; image names are normalised
-- (`docker.io/library/nginx:1.27`); digests and ids are `sha256:…`; truth is 0 or 1; JSON is what src/record.rs says.
-- Later versions are files of their own, applied in order (src/schema.rs); this one never changes again.

-- ── The queue and the history of jobs ───────────────────────────────────────────────────────────────────────────────

CREATE TABLE jobs (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,     -- order of acceptance; never given twice
    id             TEXT NOT NULL UNIQUE,                  -- 32 hexadecimal digits; whoever has it may read the job
    kind           TEXT NOT NULL CHECK (kind IN ('deploy', 'heal', 'warm', 'prune')),
    priority       INTEGER NOT NULL,                      -- of the kind; the smaller goes first
    image          TEXT,                                  -- none for a prune
    repository     TEXT,                                  -- the image's, for superseding and for lists
    digest         TEXT,                                  -- of a deploy whose sender named one
    superseded_too INTEGER NOT NULL DEFAULT 0,            -- of a prune: also the superseded digests
    trigger        TEXT NOT NULL CHECK (trigger IN ('webhook', 'schedule', 'event', 'start', 'operator')),
    trigger_by     TEXT,                                  -- the webhook's id, the operator's uid
    state          TEXT NOT NULL
                   CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'refused', 'superseded')),
    not_before     INTEGER,                               -- waiting is a state of the queue, never of the worker
    attempts       INTEGER NOT NULL DEFAULT 0,            -- how often the worker took it up
    created        INTEGER NOT NULL,
    started        INTEGER,                               -- when it was taken up first
    finished       INTEGER,                               -- set exactly when the state is final
    superseded_by  TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    CHECK ((finished IS NULL) = (state IN ('queued', 'running'))),
    CHECK ((image IS NULL) = (kind = 'prune'))
) STRICT;

CREATE INDEX jobs_queue ON jobs (priority, seq) WHERE state = 'queued';
CREATE INDEX jobs_active ON jobs (repository, seq) WHERE finished IS NULL;
CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL;
CREATE INDEX jobs_superseded_by ON jobs (superseded_by) WHERE superseded_by IS NOT NULL;

-- Each job comes to exactly one final state, whatever the code above this line does.
CREATE TRIGGER jobs_final_once BEFORE UPDATE OF state ON jobs
    WHEN OLD.finished IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a job that came to its final state cannot change it');
END;

-- What a job left behind. Apart from `jobs`, because it is large and lists of jobs are walked often.
CREATE TABLE outcomes (
    job      INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    bytes    INTEGER NOT NULL,                            -- length of json
    stripped INTEGER NOT NULL DEFAULT 0,                  -- its lists of layers were dropped for room
    json     TEXT NOT NULL
) STRICT;

CREATE INDEX outcomes_size ON outcomes (stripped, job, bytes);

-- Webhook ids seen, so that a sender's retry is answered with the first job's id and a replay is refused.
CREATE TABLE webhook_ids (
    id          TEXT PRIMARY KEY,
    body_sha256 BLOB NOT NULL,
    job         TEXT NOT NULL,                            -- jobs.id; of the joined job where it joined one
    received    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_ids_received ON webhook_ids (received);

-- ── Engines, and what was seen on them ──────────────────────────────────────────────────────────────────────────────

-- One row per engine id and image store: a flip of the store is another engine.
CREATE TABLE engines (
    id          INTEGER PRIMARY KEY,
    instance    TEXT NOT NULL UNIQUE,                     -- `<docker info ID>/<store>`
    info        TEXT,                                     -- JSON of the last look
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    deployed_at INTEGER                                   -- when a deploy last succeeded there; none: never prune there
) STRICT;

-- ONE monotonic sequence for deploys and first sightings: "newest" is the highest number, never a clock.
CREATE TABLE sequence (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO sequence VALUES (1, 0);

CREATE TABLE deploys (
    seq        INTEGER PRIMARY KEY,                       -- from `sequence`
    engine     INTEGER REFERENCES engines (id) ON DELETE SET NULL,
    image      TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    manifest   TEXT,                                      -- the platform's own, where the digest is an index
    image_id   TEXT NOT NULL,
    job        TEXT NOT NULL UNIQUE,                      -- jobs.id: a number is given once; the job may be gone
    at         INTEGER NOT NULL
) STRICT;

CREATE INDEX deploys_image ON deploys (image, seq);
CREATE INDEX deploys_repository ON deploys (repository, seq);
CREATE INDEX deploys_engine ON deploys (engine);

-- Tags that were seen on an engine.
CREATE TABLE names (
    engine     INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    image      TEXT NOT NULL,
    sighting   INTEGER NOT NULL,                          -- from `sequence`; one number for all of one first look
    first_seen INTEGER NOT NULL,                          -- of this stay: starts anew when a name comes back
    last_held  INTEGER,                                   -- when a container was last seen to hold it
    gone       INTEGER,                                   -- since when it is missing; none while it is here
    PRIMARY KEY (engine, image)
) STRICT, WITHOUT ROWID;

-- Which blob brought which layer, and how we know.
CREATE TABLE layers (
    engine  INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    blob    TEXT NOT NULL,                                -- compressed
    chain   TEXT NOT NULL,                                -- the layer on top of all below it
    diff_id TEXT NOT NULL,                                -- uncompressed
    size    INTEGER NOT NULL,                             -- of the blob
    origin  TEXT NOT NULL CHECK (origin IN ('downloaded', 'reused', 'manifest')),
    seen    INTEGER NOT NULL,                             -- when it was last recorded
    PRIMARY KEY (engine, blob, chain)
) STRICT, WITHOUT ROWID;

-- Names that layerkeeper made itself, beside the tags it was asked for; only these may it untag by name.
CREATE TABLE made (
    engine    INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    reference TEXT NOT NULL,
    purpose   TEXT NOT NULL CHECK (purpose IN ('transfer-alias', 'by-digest')),
    job       TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (engine, reference)
) STRICT, WITHOUT ROWID;

-- Digests that a kept or runtime tag had before a pull of ours moved it.
CREATE TABLE superseded (
    engine     INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    was        TEXT NOT NULL,                             -- the name that it had
    successor  TEXT NOT NULL,                             -- the digest that our pull gave that name
    image_id   TEXT NOT NULL,
    size       INTEGER,
    at         INTEGER NOT NULL,
    job        TEXT NOT NULL,
    PRIMARY KEY (engine, repository, digest, was)
) STRICT, WITHOUT ROWID;

-- What the last plan kept, so that it can be brought back: replaced as a whole.
CREATE TABLE restorable (
    engine INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    image  TEXT NOT NULL,
    digest TEXT,
    PRIMARY KEY (engine, image)
) STRICT, WITHOUT ROWID;

-- Why nothing may be pruned at the moment; no row: pruning is not blocked.
CREATE TABLE prune_gate (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    since  INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- ── What was decided and what happened ──────────────────────────────────────────────────────────────────────────────

-- Removed by us, or forgotten by a person: not to be brought back. Only a new deploy or a prewarm lifts it.
CREATE TABLE tombstones (
    image  TEXT PRIMARY KEY,
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_at ON tombstones (at);

-- How each kept image fares.
CREATE TABLE kept (
    image          TEXT PRIMARY KEY,
    last_refresh   INTEGER,                               -- when the registry last answered
    last_ok        INTEGER,                               -- when it was last known to be here and right
    digest         TEXT,
    finding        TEXT NOT NULL,
    last_scheduled INTEGER,                               -- the last due instant that was handled
    next_due       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE heals (
    seq   INTEGER PRIMARY KEY,
    image TEXT NOT NULL,
    at    INTEGER NOT NULL,
    cause TEXT NOT NULL,                                  -- such as `prune`, `untag`, `store flip`
    by    TEXT                                            -- who removed it, where that is known
) STRICT;

CREATE INDEX heals_at ON heals (at);

-- The trail for the page and the history.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT,                                         -- usually an image
    job     TEXT,
    message TEXT NOT NULL,
    data    TEXT                                          -- JSON; none for null
) STRICT;

CREATE INDEX events_at ON events (at);
CREATE INDEX events_subject ON events (subject, seq);

-- Manifests as the registry sent them; content-addressed, so never stale.
CREATE TABLE manifests (
    seq    INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    bytes  INTEGER NOT NULL,
    json   TEXT NOT NULL
) STRICT;

-- What the two clocks showed at the last look.
CREATE TABLE clock (
    only      INTEGER PRIMARY KEY CHECK (only = 1),
    boot_id   TEXT NOT NULL,                              -- boot times of two boots cannot be compared
    wall      INTEGER NOT NULL,
    boot      INTEGER NOT NULL,                           -- milliseconds since boot
    jumped_at INTEGER,                                    -- boot time at which the wall clock was last seen to jump
    jumped_by INTEGER                                     -- milliseconds
) STRICT;

-- Single values.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,                               -- `newest_webhook_time`
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
