"""The command line: its commands, each in a file of ``commands/``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import estep_xp as ex
from estep_xp.cli.commands import calculate, calculator, fit, run, sample
from estep_xp.cli.commands.help import Command, show_example
from estep_xp.cli.system import terminal
from estep_xp.cli.system.process import run_to_exit_code

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # boxes leave half of a narrow terminal for words
)

_COMPLETION = "estep-xp --install-completion"


@app.callback(
    invoke_without_command=True,
    epilog=f"{show_example(calculate.EXAMPLE)}\n\nCompletion in your shell:\n\n{_COMPLETION}",
)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """The E-step of mixture models: responsibilities and log-likelihoods."""
    if version:
        terminal.write_stdout(f"estep-xp {ex.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        terminal.write_stdout(f"{context.get_help()}\n")


for _module, _command, _short in (
    (calculate, calculate.calculate, "A few numbers under a mixture."),
    (run, run.run, "Every row of a file under a model."),
    (fit, fit.fit, "A model fitted to the rows of a file."),
    (sample, sample.sample, "Rows drawn from a model."),
    (calculator, calculator.calculator, "The calculator in your browser."),
):
    app.command(cls=Command, short_help=_short, epilog=show_example(_module.EXAMPLE))(_command)


def main() -> int:
    """Run the command line and return its exit code."""
    return run_to_exit_code(_parse_and_run)


def _parse_and_run() -> int:
    command: Any = typer.main.get_command(app)
    for parameter in command.params:  # their long names overflow a narrow terminal
        parameter.hidden = parameter.name in ("install_completion", "show_completion")
    result = command.main(sys.argv[1:], prog_name="estep-xp", standalone_mode=False)
    return result if isinstance(result, int) else 0  # typer returns the code of an early exit
