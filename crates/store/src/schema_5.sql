-- What the link to each registry gave, in bytes per second: by this is chosen whether a pull goes through the relay.
CREATE TABLE links (
    registry    TEXT PRIMARY KEY,                         -- `ghcr.io`
    one         REAL,                                     -- one connection
    three       REAL,                                     -- three, as many as an engine uses
    many        REAL,                                     -- as many as gave most
    connections INTEGER NOT NULL,                         -- how many those were; 0 where it was never measured
    at          INTEGER NOT NULL                          -- when `many` was measured, or, without it, the others
) STRICT, WITHOUT ROWID;
