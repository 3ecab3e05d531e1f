"""The names under which people reach the UI, as their browsers send them.

Belongs here: reading a host with its port, and which of them are ours. Does not belong here: what
happens to a request that gives another one.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Authority:
    """A host with its port, as in a URL.

    Attributes:
        host: in lower case, an IPv6 address in brackets.
        port: None for the default port of HTTP or of HTTPS, which browsers leave out.
    """

    host: str
    port: int | None


def read_authority(text: str) -> Authority | None:
    """Reads `name`, `name:port`, or an address, IPv6 in brackets; None if it is none of these."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = None if found["port"] is None else int(found["port"])
    return Authority(found["host"], None if port in _DEFAULT_PORTS.values() else port)


def read_names(text: str) -> list[Authority]:
    """Reads names with commas between them.

    Raises:
        ValueError: one is no host name or address, with or without a port; the message does not
            quote it, because it may be a URL with a password.
    """
    names = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = read_authority(part)
        if name is None:
            raise ValueError(
                "No host name. Write it as a browser's address bar shows it between // and /, "
                "such as fleet.example.org or fleet.example.org:8443"
            )
        names.append(name)
    return names


class OwnNames:
    """The names under which the server is reached; what comes under another name is not for it."""

    def __init__(self, listens_on: str, port: int, others: Iterable[Authority] = ()) -> None:
        """What is ours besides the address that a connection came to.

        Args:
            listens_on: the name or address that the server was told to listen on.
            port: the port that it listens on.
            others: those that people use, of a proxy in front or of this machine. One without a
                port stands for the default ports and for the port that the server listens on.
        """
        own = f"[{listens_on}]" if ":" in listens_on else listens_on
        self._names = {read_authority(f"{own}:{port}")}
        for other in others:
            self._names |= (
                {other} if other.port else {other, read_authority(f"{other.host}:{port}")}
            )

    def include(self, name: str, server: tuple[str, int | None] | None) -> bool:
        """Whether a `Host` is ours, on a connection to the address and port of `server`."""
        authority = read_authority(name)
        return authority is not None and (
            authority in self._names or authority in _names_of_address(server)
        )

    def include_origin(self, origin: str, server: tuple[str, int | None] | None) -> bool:
        """Whether an `Origin` is ours: a page that this server sent, by whatever name."""
        scheme, _, name = origin.partition("://")
        if scheme not in _DEFAULT_PORTS:
            return False
        return self.include(name, server)


def _names_of_address(server: tuple[str, int | None] | None) -> set[Authority | None]:
    """The address itself, which no name of somebody else can stand for, and loopback's names."""
    if server is None:
        return set()
    address, port = server
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return set()
    hosts = {f"[{parsed}]" if parsed.version == 6 else str(parsed)}
    if parsed.is_loopback:
        hosts.update(_LOOPBACK_NAMES)
    return {read_authority(f"{host}:{port}") for host in hosts}
