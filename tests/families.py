"""The Gaussian records under the names that two test files still use; see tests/records/."""

from __future__ import annotations

from tests.records import GAUSSIANS as RECORDS
from tests.records import Problem, Record, normalised, problem, random_weights, rounded

__all__ = ["RECORDS", "Problem", "Record", "normalised", "problem", "random_weights", "rounded"]
