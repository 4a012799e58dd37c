"""Peers of forward-backward, Viterbi and EM: hmmlearn's two forms, and dynamax."""

from __future__ import annotations

import warnings

import numpy as np

from tests.benchmarks.chain_problems import ChainCase, EmissionCase
from tests.benchmarks.peers import Peer
from tests.benchmarks.timing import Call

LOG, SCALING, DYNAMAX = "hmmlearn log", "hmmlearn scaling", "dynamax"


def hmmlearn_log(case: ChainCase) -> Call:
    """The compiled functions that `implementation="log"`, the default, calls."""
    from hmmlearn import _hmmc

    initial, transitions = case.initial, case.transitions

    def call():
        posteriors, values = np.empty_like(case.log_prob), []
        moves = np.zeros_like(transitions)
        for begin, end in case.bounds:
            rows = case.log_prob[begin:end]
            value, forward = _hmmc.forward_log(initial, transitions, rows)
            backward = _hmmc.backward_log(initial, transitions, rows)
            joint = forward + backward
            joint -= joint.max(axis=1, keepdims=True)
            np.exp(joint, out=joint)
            posteriors[begin:end] = joint / joint.sum(axis=1, keepdims=True)
            if end > begin + 1:
                moves += np.exp(_hmmc.compute_log_xi_sum(forward, transitions, backward, rows))
            values.append(value)
        return posteriors, np.asarray(values), moves

    return call


def hmmlearn_scaling(case: ChainCase) -> Call:
    """Those of `implementation="scaling"`, densities included."""
    from hmmlearn import _hmmc

    initial, transitions = case.initial, case.transitions

    def call():
        posteriors, values = np.empty_like(case.log_prob), []
        moves = np.zeros_like(transitions)
        for begin, end in case.bounds:
            rows = np.exp(case.log_prob[begin:end])
            value, forward, scale = _hmmc.forward_scaling(initial, transitions, rows)
            backward = _hmmc.backward_scaling(initial, transitions, rows, scale)
            joint = forward * backward
            posteriors[begin:end] = joint / joint.sum(axis=1, keepdims=True)
            if end > begin + 1:
                moves += _hmmc.compute_scaling_xi_sum(forward, transitions, backward, rows)
            values.append(value)
        return posteriors, np.asarray(values), moves

    return call


def dynamax(case: ChainCase) -> Call:
    """Its smoother in jit, over sequences of equal lengths by vmap."""
    import jax

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow Probability takes what JAX deprecates
        from dynamax.hidden_markov_model import hmm_smoother

    shape = (len(case.lengths), -1, case.log_prob.shape[1])
    arrays = jax.tree.map(
        jax.numpy.asarray, (case.initial, case.transitions, case.log_prob.reshape(shape))
    )

    def smooth(initial, transitions, rows):
        post = hmm_smoother(initial, transitions, rows)
        return post.smoothed_probs, post.marginal_loglik, post.trans_probs

    def whole(*arrays):
        posteriors, values, moves = jax.vmap(smooth, (None, None, 0))(*arrays)
        return posteriors.reshape(-1, shape[-1]), values, moves.sum(0)

    compiled = jax.jit(whole)
    return lambda: jax.block_until_ready(compiled(*arrays))


def hmmlearn_path(case: ChainCase) -> Call:
    """Its Viterbi."""
    from hmmlearn import _hmmc

    def call():
        value, path = _hmmc.viterbi(case.initial, case.transitions, case.log_prob)
        return path, np.asarray([value])

    return call


def hmmlearn_iteration(implementation: str):
    """An E-step and an M-step of `GaussianHMM`, without its priors."""

    def build(case: EmissionCase) -> Call:
        from hmmlearn.hmm import GaussianHMM

        hmm = case.hmm

        def call():
            model = GaussianHMM(
                case.problem.k,
                "full",
                n_iter=1,
                init_params="",
                implementation=implementation,
                min_covar=0.0,
                covars_prior=0.0,
                covars_weight=0.0,
            )
            model.startprob_, model.transmat_ = hmm.initial, hmm.transitions
            model.means_, model.covars_ = hmm.components.means, hmm.components.covariances
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(case.x)
            return model.transmat_, model.means_

        return call

    return build


def _is_positive(case: ChainCase) -> bool:
    return case.problem.kind == "ergodic"


NUMPY = (
    Peer(LOG, "hmmlearn", hmmlearn_log),
    Peer(SCALING, "hmmlearn", hmmlearn_scaling, _is_positive),
)
JAX = (Peer(DYNAMAX, "dynamax", dynamax, lambda case: _is_positive(case) and _is_even(case)),)
PATHS = (Peer(LOG, "hmmlearn", hmmlearn_path),)
ITERATIONS = tuple(
    Peer(name, "hmmlearn", hmmlearn_iteration(name.split()[-1])) for name in (LOG, SCALING)
)


def _is_even(case: ChainCase) -> bool:
    return not case.problem.ragged
