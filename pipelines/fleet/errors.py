"""What can go wrong with the fleet database, in words for the person who has to act.

No exception here carries the URL, a password or the driver's exception: they end up in event logs.
"""

from assets.publishing.interfaces import OutsideFailure


class FleetDatabaseError(OutsideFailure):
    """The fleet database can't be read; `retryable` says whether trying again may help."""


class FleetDatabaseUnavailable(FleetDatabaseError):
    """The server can't be reached, went away, is busy or locked: trying again may help."""

    retryable = True


class FleetDatabaseMisconfigured(FleetDatabaseError):
    """The URL, the password, the privileges or the schema must be corrected by a person."""


class TooManyUnusableRows(FleetDatabaseError):
    """So many rows of a table can't be used that publishing the others would mislead."""
