"""Detectors: image in, `supervision.Detections` out."""
