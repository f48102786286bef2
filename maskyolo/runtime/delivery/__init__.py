"""Delivers alerts to other machines, in order, and keeps them on disk until they have arrived."""
