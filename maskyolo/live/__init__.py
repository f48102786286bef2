"""The live page and HTTP API of cameras: who wears a mask now and today."""
