"""The library at work on what was read: E-steps, fits, curves, and their results as records."""
