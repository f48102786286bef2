"""Face detectors: an image in, face boxes out, without regard to masks."""
