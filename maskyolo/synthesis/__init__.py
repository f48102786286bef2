"""Synthesis: masks and occluders drawn on photos of bare faces."""
