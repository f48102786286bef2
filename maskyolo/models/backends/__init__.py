"""Inference backends: pixels in, raw output tensor out, without decoding or scaling."""
