"""The command line: one module per command; each parses, calls one library function and prints."""

from __future__ import annotations

import importlib
import logging

import click

from energon_prep import __version__
from energon_prep.cli.streams import VisibleFormatter, kept_warnings, never_fail, visible
from energon_prep.errors import PrepError, UsageError

_VERBOSE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_COMMANDS = ("encode", "index", "verify", "recipes", "demo")


class _Refused(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Finds a command in the module of its name, imported when it is asked for; turns PrepError
    into one line.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"energon_prep.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PrepError as error:
            told = _Refused if isinstance(error, UsageError) else click.ClickException
            raise told(visible(str(error))) from error
        except KeyboardInterrupt as stopped:
            kept = str(stopped) or "what is finished is kept"
            raise click.ClickException(f"stopped: {kept}; the same command goes on") from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="energon-prep")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens, on stderr.")
@click.pass_context
def main(ctx: click.Context, verbose: bool) -> None:
    """Turn raw images and captions into a precomputed dataset that Megatron's diffusion trainers
    read.

    \b
    energon-prep encode PHOTOS ENCODED --recipe dit --split 1,0,0
    energon-prep verify ENCODED
    """
    never_fail()
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter(_VERBOSE if verbose else "%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    ctx.obj = ctx.with_resource(kept_warnings())
    if not verbose:
        # Its INFO lines go to stdout, which is for results.
        logging.getLogger("megatron").setLevel(logging.WARNING)
