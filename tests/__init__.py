"""Tests. They start hundreds of processes, which keep the package as they have compiled it."""

import os

# Compiling it again would be half of the time of a command.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
