"""``estep-xp calculator``: the page."""

from __future__ import annotations

from typing import Annotated

import typer

from estep_xp.cli.system.extras import require
from estep_xp.cli.text.options import integer_parser

EXAMPLE = "estep-xp calculator --port 8000"


def calculator(
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P",
            help="Port; 0 or left out for one that is free.",
            parser=integer_parser("--port", minimum=0, maximum=65535),
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """The interactive page, served to this computer only, until Ctrl-C."""
    for module in ("starlette", "uvicorn", "jinja2", "plotly"):
        require(module, wanted_by="calculator", install='"estep_xp[calculator]"')
    from estep_xp.calculator.app import create_app
    from estep_xp.calculator.server import serve

    serve(create_app(), port, browser=not no_browser)
