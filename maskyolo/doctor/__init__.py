"""Checks of the installation: what works, what does not, and the exact command that fixes it."""

from maskyolo.doctor.check import Check
from maskyolo.doctor.diagnosis import diagnose

__all__ = ["Check", "diagnose"]
