"""Measuring detectors: scores on labeled images, comparisons, speed, reports."""
