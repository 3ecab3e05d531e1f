"""What a person at a terminal sees while the job works: our own words, and nothing of Dagster's."""

import logging
import sys

import dagster as dg
from typing_extensions import override

OUTSIDE_OF_STEPS = "pipelines"
"""The logger of what happens outside of a step, such as making the demo fleet."""


class _OwnMessages(logging.Filter):
    """Lets through what an asset says in a step, and keeps back what Dagster says of its steps."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        meta = getattr(record, "dagster_meta", None)
        # An asset raises what is an error. Dagster logs one for each step that a failure keeps from
        # being executed.
        return meta is None or (
            meta.get("dagster_event") is None
            and meta.get("step_key") is not None
            and record.levelno < logging.ERROR
        )


class _ElapsedTime(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        message = meta.get("orig_message", record.getMessage())
        return f"[{record.relativeCreated / 1000:6.1f} s] {message}"


def progress_handler() -> logging.Handler:
    """Writes to standard error, each message with the seconds since the command began."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_OwnMessages())
    handler.setFormatter(_ElapsedTime())
    return handler


def _make_progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("flakelag.progress", logging.INFO)
    logger.addHandler(progress_handler())
    return logger


progress_logger = dg.LoggerDefinition(
    _make_progress_logger, description="The assets' own messages, for a terminal."
)
"""For the steps of a run that is watched at a terminal."""


def show_progress_outside_of_steps() -> None:
    """Also shows what our modules log where there is no step, and so no Dagster logger."""
    logger = logging.getLogger(OUTSIDE_OF_STEPS)
    logger.setLevel(logging.INFO)
    logger.addHandler(progress_handler())
