"""Configuration files of `detect` and `serve`: cameras and options of what runs for months."""
