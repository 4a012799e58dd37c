"""The command line: its commands, each in a file of ``commands/``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import estep_xp as ex
from estep_xp.cli.commands import calculate, calculator, fit, run, sample
from estep_xp.cli.help_pages import describe_for_people
from estep_xp.cli.system import terminal
from estep_xp.cli.system.process import run_to_exit_code

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

_COMPLETION = "estep-xp --install-completion"


@app.callback(
    invoke_without_command=True,
    epilog=f"Example:\n{calculate.EXAMPLE}\nCompletion in your shell:\n{_COMPLETION}",
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


for _module, _command in (
    (calculate, calculate.calculate),
    (run, run.run),
    (fit, fit.fit),
    (sample, sample.sample),
    (calculator, calculator.calculator),
):
    app.command(epilog=f"Example:\n{_module.EXAMPLE}")(_command)


def main() -> int:
    """Run the command line and return its exit code."""
    return run_to_exit_code(_parse_and_run)


def _parse_and_run() -> int:
    command: Any = typer.main.get_command(app)
    for parameter in command.params:  # their long names overflow a narrow terminal
        parameter.hidden = parameter.name in ("install_completion", "show_completion")
    for one in (command, *command.commands.values()):
        describe_for_people(one)
    result = command.main(sys.argv[1:], prog_name="estep-xp", standalone_mode=False)
    return result if isinstance(result, int) else 0  # typer returns the code of an early exit
