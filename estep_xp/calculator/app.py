"""The calculator's page: a web application that answers from the four fields alone.

Nothing is kept between requests: each one carries all it is about, so that any number of people, a
restart, or a copied link make no difference.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import estep_xp as ex
from estep_xp.calculator.colours import component_colours
from estep_xp.calculator.em import EMProgress, run_to_convergence, take_step
from estep_xp.calculator.fields import Fields, check_fields, read_fields
from estep_xp.calculator.picture import make_picture
from estep_xp.calculator.presets import presets
from estep_xp.calculator.recipe import FILE
from estep_xp.calculator.sensitivity import gradient_by_autodiff, gradient_by_statistics
from estep_xp.calculator.sliders import make_rows
from estep_xp.calculator.starts import add_component, start_from_data
from estep_xp.calculator.upload import MAX_BYTES, read_upload
from estep_xp.calculator.view import (
    calculate,
    figures_context,
    read_order,
    results_context,
    sensitivity_context,
)
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.system.terminal import write_stderr
from estep_xp.files.errors import InputError, format_line

_STATIC = Path(__file__).parent / "static"
_STATIC_NAMES = frozenset(file.name for file in _STATIC.iterdir() if file.suffix in (".css", ".js"))
_MAX_FORM_BYTES = 2_000_000
_LABELS = (
    ("x", "Observations", "Numbers, separated by commas, spaces or new lines."),
    ("means", "Means", "One for each component."),
    ("variances", "Variances", "Squares of the standard deviations."),
    ("weights", "Weights", "Left empty, they are equal."),
)
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
        # The page itself evaluates no text, but browser automation does, on its behalf.
        "script-src 'self' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; "  # plotly's picture and the bars of the table
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",  # the address holds all inputs
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
_NO_STORE = {"cache-control": "no-store"}
_EM_ACTIONS = {"step": take_step, "converge": run_to_convergence}
_templates = Environment(
    loader=PackageLoader("estep_xp.calculator"), autoescape=True, undefined=StrictUndefined
)


def create_app() -> Starlette:
    """Return the application, for any ASGI server."""
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/answer", _answer, methods=["POST"]),
            Route("/sensitivity", _sensitivity, methods=["POST"]),
            Route("/em/{kind:str}", _em, methods=["POST"]),
            Route("/start", _start, methods=["POST"]),
            Route("/add", _add, methods=["POST"]),
            Route("/upload", _upload, methods=["POST"]),
            Route(f"/{FILE}", _csv),
            Route("/static/{name:str}", _static),
        ],
        middleware=[
            # Against DNS rebinding: other names that resolve to this computer are refused.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(_SafeHeaders),
        ],
        exception_handlers={
            HTTPException: _answer_http_error,
            ClientDisconnect: _ignore_disconnect,
            Exception: _report_internal_error,
        },
    )
    app.state.jax = asyncio.Lock()
    return app


async def _page(request: Request) -> Response:
    """Answer with the whole page, filled in."""
    fields = read_fields(request.query_params)
    return HTMLResponse(await run_in_threadpool(_page_html, fields), headers=_NO_STORE)


def _page_html(fields: Fields) -> str:
    context, picture, errors = _evaluate(fields, {})
    return _templates.get_template("page.html").render(
        **context,
        fields=fields._asdict(),
        errors=dict.fromkeys(Fields._fields, "") | errors,
        labels=_LABELS,
        presets=presets(),
        limit=MAX_BYTES,
        initial={"picture": picture},
        version=ex.__version__,
        plotly_version=version("plotly"),
    )


async def _answer(request: Request) -> Response:
    """Answer with results for the fields, or with their errors."""
    form = await _read_form(request)
    return JSONResponse(await run_in_threadpool(_answer_record, form))


def _answer_record(form: Mapping[str, str]) -> dict[str, Any]:
    context, picture, errors = _evaluate(_form_fields(form), form)
    if errors:
        return {"errors": errors}
    parts = {name: _render(name, context) for name in ("figures", "results", "components")}
    return {"errors": {}, "picture": picture, **parts}


def _evaluate(
    fields: Fields, form: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, str]]:
    """Return the context of the templates, the picture, and the errors by field."""
    inputs, errors = check_fields(fields)
    textbook = form.get("textbook") == "1"
    nothing: dict[str, Any] = {"figures": None, "results": None, "rows": [], "colours": []}
    if inputs is None:
        return nothing, None, errors
    try:
        calculation = calculate(inputs)
    except InputError as error:
        return nothing, None, {error.field: error.reason}
    context = {
        "figures": figures_context(inputs, calculation),
        "results": results_context(
            fields, inputs, calculation, read_order(form), textbook=textbook
        ),
        "rows": make_rows(inputs),
        "sensitivity": sensitivity_context(gradient_by_statistics(inputs)),
        "colours": component_colours(len(inputs.means)),
    }
    return context, make_picture(inputs, calculation.evaluation.results, textbook=textbook), {}


async def _sensitivity(request: Request) -> Response:
    """Answer with the derivatives by JAX, whose import and compilation take a second or more."""
    form = await _read_form(request)
    if not find_spec("jax"):
        return JSONResponse({})
    async with request.app.state.jax:  # concurrent requests wait for one compilation
        return JSONResponse(await run_in_threadpool(_sensitivity_record, form))


def _sensitivity_record(form: Mapping[str, str]) -> dict[str, Any]:
    inputs, _ = check_fields(_form_fields(form))
    if inputs is None:
        return {}
    context = {"sensitivity": sensitivity_context(gradient_by_autodiff(inputs))}
    return {"html": _render("sensitivity", context)}


async def _em(request: Request) -> Response:
    """Answer with new parameters and the log-likelihoods of the iterations."""
    run_em = _EM_ACTIONS.get(request.path_params["kind"])
    if run_em is None:
        raise HTTPException(404)
    return JSONResponse(await run_in_threadpool(_em_record, run_em, await _read_form(request)))


def _em_record(
    run_em: Callable[[Fields, Inputs], EMProgress], form: Mapping[str, str]
) -> dict[str, Any]:
    fields = _form_fields(form)
    inputs, errors = check_fields(fields)
    if inputs is None:
        return {"errors": errors, "status": "Correct the marked field first."}
    try:
        progress = run_em(fields, inputs)
    except ValueError as error:
        return {"status": f"EM cannot go on from here: {error}."}
    log_likelihoods = [
        value if math.isfinite(value) else None for value in progress.log_likelihoods
    ]
    return {
        "fields": progress.fields._asdict(),
        "log_likelihoods": log_likelihoods,
        "status": progress.summary,
        "warning": progress.warning,
    }


async def _start(request: Request) -> Response:
    """Answer with parameters to start from."""
    form = await _read_form(request)
    record = await run_in_threadpool(start_from_data, _form_fields(form), form.get("count", ""))
    return JSONResponse(record)


async def _add(request: Request) -> Response:
    """Answer with one component more."""
    form = await _read_form(request)
    return JSONResponse(await run_in_threadpool(add_component, _form_fields(form)))


async def _upload(request: Request) -> Response:
    """Answer with a column of an uploaded file, as text for the field."""
    content = await _read_body(request, MAX_BYTES)
    query = request.query_params
    column = query.get("column", "")
    chosen = int(column) if re.fullmatch(r"[0-9]{1,9}", column) else None
    upload = await run_in_threadpool(read_upload, content, query.get("name", ""), chosen)
    return JSONResponse(upload._asdict())


async def _csv(request: Request) -> Response:
    """Answer with the table as a CSV file, with all digits."""
    text = await run_in_threadpool(_csv_text, read_fields(request.query_params))
    headers = {"content-disposition": f'attachment; filename="{FILE}"'} | _NO_STORE
    return Response(text, media_type="text/csv", headers=headers)


def _csv_text(fields: Fields) -> str:
    inputs, errors = check_fields(fields)
    if inputs is None:
        raise HTTPException(400, "; ".join(f"{field}: {text}" for field, text in errors.items()))
    return "".join(calculate(inputs).csv())


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "plotly.min.js":
        return FileResponse(_plotly_script(), headers={"cache-control": "max-age=86400"})
    if name not in _STATIC_NAMES:
        raise HTTPException(404)
    return FileResponse(_STATIC / name, headers={"cache-control": "no-cache"})


def _plotly_script() -> Path:
    """Return the path of the script in the package plotly, without importing the package."""
    spec = find_spec("plotly")
    (folder, *_) = (spec and spec.submodule_search_locations) or [""]
    return Path(folder, "package_data", "plotly.min.js")


async def _read_form(request: Request) -> dict[str, str]:
    content = await _read_body(request, _MAX_FORM_BYTES)
    return dict(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))


async def _read_body(request: Request, most: int) -> bytes:
    """Return the body of a request; stop reading one that is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"more than {most} bytes; at most so many are taken")
    return bytes(body)


def _form_fields(form: Mapping[str, str]) -> Fields:
    return read_fields(dict.fromkeys(Fields._fields, "") | dict(form))


def _render(name: str, context: Mapping[str, Any]) -> str:
    return _templates.get_template(f"{name}.html").render(context)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code)


async def _ignore_disconnect(*_: Any) -> Response:
    """End a request whose client disconnected before it was sent completely."""
    return Response(status_code=400)


async def _report_internal_error(_: Request, error: Exception) -> Response:
    text = format_line(f"internal error, please report it: {type(error).__name__}: {error}")
    write_stderr(text)
    return PlainTextResponse(text, 500)


class _SafeHeaders:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
