"""Files: images, photos, contact sheets, TFRecords, atomic writes."""
