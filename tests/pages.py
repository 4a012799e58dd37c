"""The page's server in a process of its own, and requests to it: for the tests of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np

import estep_xp as ex
from estep_xp.cli.read.inputs import Inputs
from tests.commands import default_signals

ROOT = Path(__file__).parent.parent
DATA = ROOT / "examples" / "data"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
COMMAND = [sys.executable, "-m", "estep_xp", "calculator"]
END = 20  # seconds in which a signal must have ended the server, on a machine with much to do


def inputs(x, means, variances, weights=None):
    weights = [1.0] * len(means) if weights is None else weights
    return Inputs(*(np.asarray(values, float) for values in (x, means, variances, weights)))


def mixture(given):
    return ex.Mixture(given.weights, ex.UnivariateGaussian(given.means, given.variances))


TWELVE = [0.5, 1.2, 1.7, 2.1, 2.6, 3.8, 4.4, 5.3, 5.8, 6.4, 7.1, 8]
EXAMPLE = inputs(TWELVE, [2, 6], [1, 1.5], [0.45, 0.55])


def start(*arguments, environment=None, command=COMMAND):
    with default_signals():
        return subprocess.Popen(
            [*command, *arguments],
            env=ENVIRONMENT | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextlib.contextmanager
def running(*arguments, **options):
    """Yield a server's process and its address."""
    process = start(*arguments, **options)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), process.stderr.read()
        yield process, address
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def serve_page():
    """Yield the address of a server, which must end without a complaint of any request."""
    with running("--no-browser", "--port", "0") as (process, address):
        yield address
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert stderr == "Ctrl-C ends the calculator.\n"


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def answer(address, given, path="/answer"):
    """Return what the page says about the fields `given`."""
    status, _, text = ask(address, "POST", path, urlencode(given._asdict()))
    assert status == 200, text
    return json.loads(text)
