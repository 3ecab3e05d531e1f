"""What every command does first: read the settings, and say plainly what is wrong with them."""

import click

from pipelines.settings import Settings, SettingsError, read_settings


def settings_for_command() -> Settings:
    """The settings; a bad one ends the command with a message and no traceback."""
    try:
        return read_settings()
    except SettingsError as error:
        message = str(error)
    raise click.ClickException(message)
