-- A name that moves on while its registry is away has several of these, one for each digest: which of them it stands for is told
-- by the image that it is.
ALTER TABLE provenance RENAME TO provenance_6;
CREATE TABLE provenance (
    name     TEXT NOT NULL,                               -- `ghcr.io/acme/app:sha-1a2b3c4`
    digest   TEXT NOT NULL,                               -- what it stands for
    image_id TEXT NOT NULL,                               -- what the engine calls the image
    layers   TEXT NOT NULL,                               -- its diff ids, bottom first, with a space between them
    alias    TEXT NOT NULL,                               -- the name under which it was pulled
    source   TEXT NOT NULL,                               -- where its bytes came from
    job      TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (name, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO provenance SELECT name, digest, image_id, layers, alias, source, job, at FROM provenance_6;
DROP TABLE provenance_6;
