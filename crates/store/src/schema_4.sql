-- When an image was last here is asked for each of them, by the sweep and for what was lost.
CREATE INDEX changes_image ON changes (engine, image_id);
