"""Synthesis of photos: draws masks and occluders on bare faces."""
