-- Which image a tag stood for when it was last seen: where it stands for another one, its stay starts anew. None: it was
-- last seen by version 1.
ALTER TABLE names ADD COLUMN image_id TEXT;
