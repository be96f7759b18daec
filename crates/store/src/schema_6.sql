-- Names whose content came from a mirror while their registry was away: by this record, and not by the engine's word, they
-- stand for a digest, until a pull from the registry itself.
CREATE TABLE provenance (
    name     TEXT PRIMARY KEY,                            -- `ghcr.io/acme/app:sha-1a2b3c4`
    digest   TEXT NOT NULL,                               -- what it stands for
    image_id TEXT NOT NULL,                               -- what the engine calls the image
    layers   TEXT NOT NULL,                               -- its diff ids, bottom first, with a space between them
    alias    TEXT NOT NULL,                               -- the name under which it was pulled
    source   TEXT NOT NULL,                               -- where its bytes came from
    job      TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
