"""The page: a Starlette application, and what it shows."""
