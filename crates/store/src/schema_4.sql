-- A kept image whose tag has the quarter in it: which quarters of it this host is at.
CREATE TABLE quarters (
    template TEXT PRIMARY KEY,                            -- `repository:tag` with `{quarter}` in the tag
    wanted   TEXT,                                        -- `2026q4`: to be here
    current  TEXT                                         -- the one that was last verified here as the wanted one
) STRICT, WITHOUT ROWID;
