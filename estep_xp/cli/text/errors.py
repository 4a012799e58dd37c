"""Errors of the system that a person can act on: one line each."""

from __future__ import annotations


class SystemFailure(Exception):
    """The system refused: an unwritable file, a missing package, an output that exists."""
