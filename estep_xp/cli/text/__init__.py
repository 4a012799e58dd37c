"""Typed words as numbers and options, and errors as one line."""
