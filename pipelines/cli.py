"""The `flakelag` command. Sub-commands are imported when they are called: Dagster takes seconds."""

from importlib import import_module

import click
from typing_extensions import override

from pipelines.commands.interruption import Interrupted

_COMMANDS = {
    "init": "pipelines.commands.init",
    "report": "pipelines.commands.report",
    "backfill": "pipelines.commands.backfill",
    "ui": "pipelines.commands.ui",
    "webserver": "pipelines.commands.webserver",
    "daemon": "pipelines.commands.daemon",
    "status": "pipelines.commands.status",
    "commit": "pipelines.commands.commit",
    "history": "pipelines.commands.history",
    "psql": "pipelines.commands.psql",
    "check": "pipelines.commands.check",
}


class _LazyGroup(click.Group):
    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flakelag")
def main() -> None:
    """Is every NixOS system running the latest commit of its flake?

    `flakelag report` reads the fleet database and publishes today's snapshots; `flakelag status`,
    `flakelag commit HASH` and `flakelag history HOST` read what was published.
    """


if __name__ == "__main__":
    main()
