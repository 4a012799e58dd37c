"""A 50-digit oracle for mixtures of Gaussians, and the error bound that results are held to.

Every float is an exact binary rational, so the oracle starts from the very numbers that the package
was given: what differs from it is the package's error and nothing else. Each log-joint has a scale
T, the size of the largest term that enters it, and may be off by ``16 eps (1 + T)``; in float64 an
absolute error of 1e-12 is fine too. The bounds of everything else follow from that one:

* the log-likelihood of a row lies between the log-sum-exps of its log-joints minus and plus their
  bounds, so a component that carries no probability lends it no slack either;
* a responsibility is ``exp(log_joint - log_likelihood)``, so its *relative* error is bounded by the
  larger of those two bounds, however small it is;
* a total is bounded by the sum of its rows' bounds, plus the rounding of a pairwise sum.

Arrays of oracle values have dtype object and hold mpmath numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import mpmath
import numpy as np

FAMILIES = (
    "UnivariateGaussian",
    "SphericalGaussian",
    "DiagonalGaussian",
    "TiedGaussian",
    "FullGaussian",
)
FLOAT64_SLACK = 1e-12

# A context of our own: nobody else's mpmath precision changes ours, nor ours theirs.
mp = mpmath.MPContext()
mp.dps = 50


def exact(values):
    """Return the array of mpmath numbers that equal these floats."""
    values = np.asarray(values)
    out = np.empty(values.shape, dtype=object)
    for index, value in np.ndenumerate(values):
        out[index] = mp.mpf(float(value))
    return out


def log_sum_exp(row):
    """Return log(sum(exp(row))), which is -inf where every entry is."""
    largest = max(row)
    if largest == mp.ninf:
        return mp.ninf
    return largest + mp.log(mp.fsum(mp.exp(value - largest) for value in row))


@dataclass(frozen=True)
class Oracle:
    """Log-joints (n, k) to 50 digits, the scale T of each, and what follows from them."""

    log_joint: np.ndarray
    scale: np.ndarray

    @cached_property
    def log_likelihood(self):
        """Log density of each row, (n,)."""
        return _rows(log_sum_exp(row) for row in self.log_joint)

    @cached_property
    def responsibilities(self):
        """Posterior probabilities (n, k), as small as they are; NaN in rows of zero density."""
        out = np.empty(self.log_joint.shape, dtype=object)
        for i, row in enumerate(self.log_joint):
            total = self.log_likelihood[i]
            for c, value in enumerate(row):
                out[i, c] = mp.nan if total == mp.ninf else mp.exp(value - total)
        return out

    @cached_property
    def _bounds(self):
        """Bounds that were asked for already: they cost more than the values."""
        return {}

    @cached_property
    def entropy(self):
        """Entropy of each row's responsibilities in nats, (n,)."""
        return _rows(-mp.fsum(r * mp.log(r) for r in row if r) for row in self.responsibilities)

    def total(self, sample_weight=None):
        """Return the sum of the rows' log-likelihoods; rows of weight 0 are left out."""
        weights = exact(np.ones(len(self.log_joint)) if sample_weight is None else sample_weight)
        rows = zip(weights, self.log_likelihood, strict=True)
        return mp.fsum(weight * value for weight, value in rows if weight)

    def log_joint_bound(self, dtype):
        """Return how far each log-joint may be off, (n, k)."""
        return bound(self.scale, dtype)

    def log_likelihood_bound(self, dtype):
        """Return how far each row's log-likelihood may be off, (n,)."""
        key = np.dtype(dtype).name
        if key not in self._bounds:
            slack = self.log_joint_bound(dtype)
            rows = zip(self.log_joint, slack, self.log_likelihood, strict=True)
            self._bounds[key] = _rows(_widest(*row) for row in rows)
        return self._bounds[key]

    def responsibility_bound(self, dtype):
        """Return how far the logarithm of each responsibility may be off, (n, k)."""
        slack = self.log_joint_bound(dtype)
        return np.maximum(slack, self.log_likelihood_bound(dtype)[:, None])

    def total_bound(self, dtype, sample_weight=None):
        """Return how far the total may be off: its rows' errors and a pairwise sum's rounding."""
        n = len(self.log_joint)
        weights = exact(np.ones(n) if sample_weight is None else sample_weight)
        eps = mp.mpf(float(np.finfo(dtype).eps))
        steps = 1 + math.ceil(math.log2(max(n, 1)))
        rows = zip(weights, self.log_likelihood_bound(dtype), self.log_likelihood, strict=True)
        return mp.fsum(w * (slack + steps * eps * abs(value)) for w, slack, value in rows if w)


def bound(scale, dtype):
    """Return 16 eps (1 + T), and never less than 1e-12 in float64."""
    dtype = np.dtype(dtype)
    floor = mp.mpf(FLOAT64_SLACK if dtype == np.float64 else 0)
    allowed = 16 * mp.mpf(float(np.finfo(dtype).eps)) * (1 + np.asarray(scale, dtype=object))
    return np.maximum(allowed, floor)


def mixture(family, fields, weights, x):
    """Return the oracle of a mixture: a family's name, its fields, weights (k,) and rows x."""
    log_prob, scale = gaussian(family, fields, x)
    return joint(log_prob, scale, weights)


def posterior(log_prob, weights):
    """Return the oracle of any component log-densities (n, k) with weights (k,)."""
    log_prob = exact(log_prob)
    scale = np.empty(log_prob.shape, dtype=object)
    for index, value in np.ndenumerate(log_prob):
        scale[index] = mp.mpf(0) if value == mp.ninf else abs(value)
    return joint(log_prob, scale, weights)


def gaussian(family, fields, x):
    """Return component log-densities (n, k) and the scale of each, the weights left aside."""
    means, second = (np.asarray(field, dtype=np.float64) for field in fields)
    x = np.asarray(x, dtype=np.float64)
    if family == "UnivariateGaussian":
        means, x = means[:, None], x[:, None]
    k, d = means.shape
    constant = mp.mpf(d) / 2 * mp.log(2 * mp.pi)
    log_prob = np.empty((len(x), k), dtype=object)
    scale = np.empty_like(log_prob)
    for c in range(k):
        if family in ("TiedGaussian", "FullGaussian"):
            factor = second if family == "TiedGaussian" else second[c]
            logs = [mp.log(value) for value in exact(np.diagonal(factor))]
            squares = _dense_squares(x, means[c], factor)
        else:
            variances = exact(np.broadcast_to(second[c], d))
            logs = [-mp.log(value) / 2 for value in variances]
            residuals = exact(x) - exact(means[c])
            squares = [2 * (mp.fsum(row * row / variances),) for row in residuals]
        log_scale = mp.fsum(map(abs, logs))
        for i, (square, largest) in enumerate(squares):
            log_prob[i, c] = mp.fsum(logs) - constant - square / 2
            scale[i, c] = max(constant, log_scale, largest / 2)
    return log_prob, scale


def add_terms(terms, x, *parameters):
    """Return log-densities (n, k) of independent features, and the scale of each.

    ``terms`` lists the terms of one feature's log-density, given its observation and the numbers
    that are its component's parameters.
    """
    rows, *columns = (np.reshape(exact(a), (len(a), -1)) for a in (x, *parameters))
    log_prob = np.empty((len(rows), len(columns[0])), dtype=object)
    scale = np.empty_like(log_prob)
    for i, c in np.ndindex(*log_prob.shape):
        own = (column[c] for column in columns)
        kinds = list(zip(*map(terms, rows[i], *own), strict=True))
        log_prob[i, c] = mp.fsum(map(mp.fsum, kinds))
        sizes = [mp.fsum(map(abs, kind)) for kind in kinds]
        scale[i, c] = max([mp.mpf(0), *(size for size in sizes if size != mp.inf)])
    return log_prob, scale


def float64_scale(family, fields, weights, x):
    """Return T for every row and component in plain float64: close enough to scale a tolerance."""
    means, factors = _dense_parameters(family, fields)
    x = np.asarray(x, dtype=np.float64)
    x = x[:, None] if family == "UnivariateGaussian" else x
    weights = np.asarray(weights, dtype=np.float64)
    spread = np.einsum("nki,kij->nkj", abs(x[:, None, :] - means), abs(factors))
    logs = abs(np.log(np.einsum("kii->ki", factors))).sum(axis=1)
    log_weights = abs(np.log(np.where(weights > 0, weights, 1.0)))
    constants = max(means.shape[1] / 2 * math.log(2 * math.pi), abs(math.log(weights.sum())))
    return np.maximum((spread**2).sum(axis=2) / 2, np.maximum(logs, log_weights)).clip(constants)


def assert_log_joint(actual, oracle, dtype):
    """Check log-joints (n, k); return the worst error in units of eps (1 + T)."""
    actual = _checked(actual, dtype, oracle.log_joint.shape)
    slack = oracle.log_joint_bound(dtype)
    return _assert_close("log-joint", actual, oracle.log_joint, slack, dtype)


def assert_log_prob(actual, family, fields, x, dtype):
    """Check a family's own log-densities (n, k); return the worst error in eps (1 + T)."""
    log_prob, scale = gaussian(family, fields, x)
    return assert_log_joint(actual, Oracle(log_prob, scale), dtype)


def assert_log_likelihood(actual, oracle, dtype):
    """Check the log-likelihood of each row (n,); return the worst error in eps (1 + T)."""
    actual = _checked(actual, dtype, oracle.log_likelihood.shape)
    slack = oracle.log_likelihood_bound(dtype)
    return _assert_close("log-likelihood", actual, oracle.log_likelihood, slack, dtype)


def assert_total(actual, oracle, dtype, sample_weight=None):
    """Check a total log-likelihood (); return its error in units of its bound."""
    actual = _checked(actual, dtype, ())
    total, slack = oracle.total(sample_weight), oracle.total_bound(dtype, sample_weight)
    error = abs(mp.mpf(float(actual)) - total)
    assert error <= slack, (
        f"total is {actual!r}, not {_short(total)}: off by {error / slack} bounds"
    )
    return float(error / slack) if slack else 0.0


def assert_responsibilities(actual, oracle, dtype):
    """Check responsibilities (n, k) relatively, and their sums; return the worst eps (1 + T).

    A result below the smallest normal number may be flushed to zero, so the comparison grants that
    much absolutely.
    """
    actual = _checked(actual, dtype, oracle.log_joint.shape)
    slack = oracle.responsibility_bound(dtype)
    tiny = mp.mpf(float(np.finfo(dtype).tiny))
    worst = 0.0
    for index, value in np.ndenumerate(actual):
        expected, allowed, got = oracle.responsibilities[index], slack[index], float(value)
        assert 0.0 <= got <= 1.0, f"responsibility {index} is {got!r}"
        lowest, highest = expected * mp.exp(-allowed), expected * mp.exp(allowed)
        message = f"responsibility {index} is {got!r}, not {_short(expected)}"
        if expected == 0:
            assert got == 0.0, message
        assert lowest - tiny <= got <= highest + tiny, f"{message} within {_short(allowed)}"
        if expected > tiny and got > 0.0:
            error = abs(mp.log(mp.mpf(got)) - mp.log(expected))
            worst = max(worst, float(16 * error / allowed))
    assert_rows_sum_to_one(actual)
    return worst


def assert_rows_sum_to_one(responsibilities):
    """Check that each row sums to one within (16 + k) eps, the sum itself taken exactly."""
    k = responsibilities.shape[1]
    eps = float(np.finfo(responsibilities.dtype).eps)
    for i, row in enumerate(responsibilities):
        error = math.fsum([*map(float, row), -1.0])
        assert abs(error) <= (16 + k) * eps, f"row {i} sums to 1 + {error / eps} eps"


def assert_entropy(actual, oracle, dtype):
    """Check each row's entropy (n,) against the errors its responsibilities may have."""
    actual = _checked(actual, dtype, oracle.entropy.shape)
    eps = mp.mpf(float(np.finfo(dtype).eps))
    relative = oracle.responsibility_bound(dtype)
    k = oracle.log_joint.shape[1]
    for i, row in enumerate(oracle.responsibilities):
        terms = [r * (1 + abs(mp.log(r))) * (relative[i, c] + eps) for c, r in enumerate(row) if r]
        slack = mp.fsum(terms) + k * eps
        error = abs(mp.mpf(float(actual[i])) - oracle.entropy[i])
        assert error <= slack, f"entropy {i} is {actual[i]!r}, not {_short(oracle.entropy[i])}"
        assert actual[i] >= 0.0, f"entropy {i} is {actual[i]!r}"


def _dense_parameters(family, fields):
    """Return means (k, d) and factors (k, d, d) in float64."""
    means, second = (np.asarray(field, dtype=np.float64) for field in fields)
    means = means[:, None] if family == "UnivariateGaussian" else means
    k, d = means.shape
    if family in ("TiedGaussian", "FullGaussian"):
        return means, np.broadcast_to(np.triu(second), (k, d, d))
    variances = second if family == "DiagonalGaussian" else np.repeat(second[:, None], d, axis=1)
    return means, np.eye(d) / np.sqrt(variances)[:, None, :]


def _dense_squares(x, mean, factor):
    """Yield the squared length of each standardised residual, and of its largest possible one.

    Whole numbers are exact and many times quicker than mpmath's where terms are d² a row.
    """
    numbers, low = _whole(np.vstack([x, mean]))
    factor, factor_low = _whole(np.triu(factor))
    residuals = numbers[:-1] - numbers[-1]
    for signed, unsigned in zip(residuals @ factor, abs(residuals) @ abs(factor), strict=True):
        sums = (signed * signed).sum(), (unsigned * unsigned).sum()
        yield tuple(mp.ldexp(mp.mpf(value), 2 * (low + factor_low)) for value in sums)


def _whole(values):
    """Return whole numbers and an exponent: floats are the numbers times that power of 2."""
    assert np.isfinite(values).all()
    mantissas, exponents = np.frexp(values)
    exponents -= 53
    low = int(exponents.min(where=values != 0, initial=971))
    powers = 2 ** np.maximum(exponents - low, 0).astype(object)
    return (mantissas * 2.0**53).astype(np.int64).astype(object) * powers, low


def joint(log_prob, scale, weights):
    """Add the logarithms of the normalised weights, and let them enter the scale."""
    weights = exact(weights)
    log_total = mp.log(mp.fsum(weights))
    log_weights = [mp.log(weight) if weight else mp.ninf for weight in weights]
    # A weight of zero makes the log-joint -inf exactly: there is no error to scale.
    largest = [max(abs(log_total), abs(v) if v != mp.ninf else 0) for v in log_weights]
    log_joint = np.empty(log_prob.shape, dtype=object)
    for (i, c), value in np.ndenumerate(log_prob):
        log_joint[i, c] = value + log_weights[c] - log_total
    return Oracle(log_joint, np.maximum(scale, _rows(largest)))


def _widest(log_joint, slack, total):
    """Return how far a log-sum-exp moves at most when each of its terms moves within its slack."""
    if total == mp.ninf:
        return mp.mpf(0)
    return max(log_sum_exp(log_joint + slack) - total, total - log_sum_exp(log_joint - slack))


def _assert_close(name, actual, expected, slack, dtype):
    """Compare finite numbers within their slack; where the true number overflows, expect -inf."""
    largest = mp.mpf(float(np.finfo(dtype).max))
    worst = 0.0
    for index, value in np.ndenumerate(actual):
        message = f"{name} {index} is {value!r}, not {_short(expected[index])}"
        if expected[index] == mp.ninf or expected[index] < -largest:
            assert value == -np.inf, message
            continue
        # The square is twice as large as the half of it that counts, so it may overflow earlier.
        if expected[index] < -largest / 4 and value == -np.inf:
            continue
        assert math.isfinite(value), message
        error = abs(mp.mpf(float(value)) - expected[index])
        assert error <= slack[index], f"{message}: off by {_short(error / slack[index])} bounds"
        worst = max(worst, float(16 * error / slack[index]))
    return worst


def _checked(actual, dtype, shape):
    """Return the result as a NumPy array once its dtype and shape are the expected ones."""
    actual = np.asarray(actual)
    assert actual.dtype == np.dtype(dtype), f"dtype is {actual.dtype}, not {np.dtype(dtype)}"
    assert actual.shape == shape, f"shape is {actual.shape}, not {shape}"
    return actual


def _rows(values):
    """Return an array of mpmath numbers from an iterable of them, also from an empty one."""
    values = list(values)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _short(value):
    """Return an mpmath number in few digits, for messages."""
    return mp.nstr(value, 20)
