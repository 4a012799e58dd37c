"""Data and models, from files."""
