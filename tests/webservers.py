"""What tests need that start Dagster's webserver in a process of its own."""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

from pipelines.settings import Settings

REPOSITORY = Path(__file__).parents[1]
"""Where processes start, so that they import this working copy."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings_environment(**variables: str) -> dict[str, str]:
    """The environment with these settings and no other."""
    ours = {name.upper() for name in Settings.model_fields}
    others = {name: value for name, value in os.environ.items() if name not in ours}
    return {**others, **variables}


def is_ready(url: str) -> bool:
    """Whether a webserver answers."""
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
