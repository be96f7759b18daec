-- The images that a kept image's expectations were held to and that are wanted or here, as a JSON list: of each its digest,
-- the expectations' fingerprint, what was not as expected, and when.
ALTER TABLE kept ADD COLUMN checked TEXT;

-- A kept image whose tag has the quarter in it: which quarters of it this host is at.
CREATE TABLE quarters (
    template TEXT PRIMARY KEY,                            -- `repository:tag` with `{quarter}` in the tag
    wanted   TEXT,                                        -- `2026q4`: to be here
    current  TEXT                                         -- the one that was last verified here as the wanted one
) STRICT, WITHOUT ROWID;

-- When an image was last here is asked for each of them, by the sweep and for what was lost.
CREATE INDEX changes_image ON changes (engine, image_id);
