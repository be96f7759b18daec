-- What each name stood for, a line for each change that a look saw: what was here on Tuesday is the last line of each name
-- before then.
CREATE TABLE changes (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    engine   INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    name     TEXT NOT NULL,                               -- `repository:tag`; `repository@digest` of an image without a tag
    image_id TEXT,                                        -- none: the name is gone
    digest   TEXT,                                        -- in the name's repository, where it has one
    job      TEXT                                         -- jobs.id of ours that ran when it was seen
) STRICT;

CREATE INDEX changes_name ON changes (engine, name, seq);
CREATE INDEX changes_at ON changes (at);

-- The layers of every image that a line of `changes` names.
CREATE TABLE stacks (
    engine   INTEGER NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    image_id TEXT NOT NULL,
    layers   BLOB NOT NULL,                               -- SHA-256 of each layer's content, bottom first, 32 bytes each
    PRIMARY KEY (engine, image_id)
) STRICT, WITHOUT ROWID;

-- How much of a layer's content another image has under the same path, measured file by file. A layer is its content, on
-- whatever engine.
CREATE TABLE repeats (
    diff_id        TEXT NOT NULL,
    image          TEXT NOT NULL,                         -- the other image, by its name
    repository     TEXT NOT NULL,                         -- of the image whose layer it is
    created_by     TEXT,                                  -- the instruction that made the layer
    total          INTEGER NOT NULL,                      -- bytes in regular files
    repeated       INTEGER NOT NULL,
    files          INTEGER NOT NULL,
    repeated_files INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (diff_id, image)
) STRICT, WITHOUT ROWID;

CREATE INDEX repeats_created_by ON repeats (repository, created_by, at);

-- By this number, for ever the same, a daemon knows what it made on an engine.
INSERT INTO meta VALUES ('owner', random());

-- A deploy that may move more than its repository's `download_limit`.
ALTER TABLE jobs ADD COLUMN over_limit INTEGER NOT NULL DEFAULT 0;
