"""Face detectors: image in, face boxes out. They know nothing about masks."""
