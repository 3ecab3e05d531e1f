"""The address of a PostgreSQL: taken apart once, completed with our defaults, and never told whole.

Belongs here: what a URL of a setting means to libpq, how it is named in messages, what no message
may contain, and how one is written. Does not belong here: connecting.

Messages of libpq quote pieces of a malformed URL, the password among them, and tools print an
exception's context and its frames' variables. Hence ours are raised outside of `except` blocks, so
that nothing of the original hangs on to them, and plain text of the URL lives only in frames that
have returned.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from assets.publishing.display import display_sentence
from assets.publishing.interfaces import OutsideFailure

# A server that vanishes without a word is noticed after a minute, not after the kernel's two hours.
CONNECTION_DEFAULTS: dict[str, str | int] = {
    "fallback_application_name": "flakelag",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

HOW_TO_WRITE_ONE = (
    "It reads postgresql://user:password@host:port/database, or for a Unix socket "
    "postgresql://user@/database?host=/folder/of/the/socket. In user and password, write these "
    "characters percent-encoded: % as %25, / as %2F, @ as %40, : as %3A, ? as %3F, # as %23, "
    "space as %20."
)

_HOSTS = re.compile(r"([\w.:%-]*|[/@][^,]*)(,([\w.:%-]*|[/@][^,]*))*")
_PORTS = re.compile(r"\d*(,\d*)*")
_URL = re.compile(r"postgres(?:ql)?://(?:[^:/@]*:(?P<password>[^/@]*)@)?[^/]*(?:/(?P<path>[^?]*))?")


def startup_options(settings: Mapping[str, str]) -> str:
    """Settings as `options` of a connection; their values are without spaces."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


class MalformedAddress(OutsideFailure):
    """A setting is no URL of a PostgreSQL; the message names the setting and quotes nothing."""


@dataclass(frozen=True)
class Address:
    """Where a database is.

    Attributes:
        setting: the variable that says so.
        conninfo: for libpq, with our defaults where the user gave none.
        name: for messages; without password.
        secrets: what no message may contain.
    """

    setting: str
    conninfo: SecretStr
    name: str
    secrets: tuple[SecretStr, ...]

    @classmethod
    def of(cls, url: SecretStr, setting: str) -> Self:
        """Takes a libpq URL or conninfo string, and the variable that it comes from.

        Raises:
            MalformedAddress: it is none.
        """
        address = cls._parse(url, setting)
        if address is None:
            raise MalformedAddress(f"{setting} is malformed. {HOW_TO_WRITE_ONE}")
        return address

    @classmethod
    def _parse(cls, url: SecretStr, setting: str) -> Self | None:
        text = url.get_secret_value().strip()
        try:
            given = conninfo_to_dict(text)
        except (psycopg.Error, ValueError):
            return None
        host, port = (str(given.get(name, "")) for name in ("host", "port"))
        # Where a password holds an unencoded "/" or "@", libpq takes its parts for host, port or
        # database.
        in_url = _URL.match(text)
        path = in_url["path"] or "" if in_url else ""
        if not _HOSTS.fullmatch(host) or not _PORTS.fullmatch(port) or "@" in path:
            return None
        service = given.get("service") or os.environ.get("PGSERVICE")
        # A service file, or the environment, may say otherwise than our defaults.
        defaults = {k: v for k, v in CONNECTION_DEFAULTS.items() if k not in given and not service}
        if "PGCONNECT_TIMEOUT" in os.environ:
            defaults.pop("connect_timeout", None)
        names = {
            "service": service,
            "host": host or os.environ.get("PGHOST"),
            "port": port or os.environ.get("PGPORT"),
            "database": given.get("dbname") or os.environ.get("PGDATABASE"),
            "user": given.get("user") or os.environ.get("PGUSER"),
        }
        passwords = (
            given.get("password"),
            in_url["password"] if in_url else None,
            given.get("sslpassword"),
            os.environ.get("PGPASSWORD"),
        )
        secrets = [str(password) for password in passwords if password]
        # A name that is also the password is not told either.
        harmless = {
            part: name
            for part, name in names.items()
            if name and not any(secret in str(name) for secret in secrets)
        }
        return cls(
            setting=setting,
            conninfo=SecretStr(make_conninfo(text, **defaults)),
            name=", ".join(f"{part} {name}" for part, name in harmless.items()),
            secrets=tuple(SecretStr(secret) for secret in secrets),
        )

    def with_options(self, settings: Mapping[str, str]) -> SecretStr:
        """The conninfo that sets something for the whole session, which most poolers refuse.

        Where a service file may have options of its own, it is left as it is.
        """
        plain = self.conninfo.get_secret_value()
        given = conninfo_to_dict(plain)
        if "service" in given or "PGSERVICE" in os.environ:
            return self.conninfo
        options = given.get("options", os.environ.get("PGOPTIONS", ""))
        return SecretStr(make_conninfo(plain, options=f"{options} {startup_options(settings)}"))

    def said(self, text: str) -> str:
        """What a server or libpq said, in one line; withheld if it quotes a secret."""
        if any(secret.get_secret_value() in text for secret in self.secrets):
            return "(its message quotes the password and is withheld)"
        return display_sentence(text)


def warnings_for(address: Address) -> tuple[str, ...]:
    """What an operator should know of an address that works: a password that others can read.

    Without `sslmode=verify-full`, whoever sits between us and the server can read the password or
    stand in for the server. Not asked of Unix sockets and of this machine itself.
    """
    given = conninfo_to_dict(address.conninfo.get_secret_value())
    sslmode = given.get("sslmode") or os.environ.get("PGSSLMODE") or "prefer"
    root = given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    hosts = str(given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "")
    distant = [host for host in hosts.split(",") if not _is_here(host)]
    if not distant or sslmode == "verify-full" or root == "system":
        return ()
    what = (
        "its password" if address.secrets else "what is sent, a password from elsewhere included,"
    )
    return (
        f"{address.setting}: {what} can be read on the way to {', '.join(distant)}, or taken by "
        f"another server: sslmode is {sslmode}. Add sslmode=verify-full, and sslrootcert= with the "
        "file of the authority that signed the server's certificate (or sslrootcert=system).",
    )


def _is_here(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
