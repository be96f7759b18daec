-- The last image that a kept image's expectations were held to, as JSON: its digest, the expectations' fingerprint, what was
-- not as expected, and when.
ALTER TABLE kept ADD COLUMN checked TEXT;
