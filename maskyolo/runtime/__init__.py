"""From sources to results: reads frames, detects in them, tracks, counts, draws and writes."""
