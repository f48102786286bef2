"""Backends: a network on a piece of hardware. Pixels in, tensor out; no boxes, no sizes."""
