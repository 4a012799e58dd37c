"""Expectation-maximisation: expected statistics, M-step, fit, starts, acceleration.

Nothing here knows which family of components, which structure or which array library it works for.
"""
