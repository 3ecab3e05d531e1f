"""The page as a document: templates filled in, with a policy that lets nothing else in.

Belongs here: what every template may use, and what the browser may load. Does not belong here: what
the page says.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any

import jinja2

from assets.page.actors import ACTORS
from assets.page.charts import STATUS_STYLES
from assets.page.overview import ATTENTION_STATUSES
from assets.page.wording import (
    CHANGE_LABELS,
    NOT_KNOWN,
    STATUS_LABELS,
    change,
    counted,
    grouped,
    percentage,
    short_hash,
    span,
)
from assets.publishing.display import display_name
from assets.publishing.instants import minute, utc_minute


def fill_template(name: str, **content: Any) -> str:
    """Fills in a template; what it is given is escaped, whatever it holds.

    The template also gets `style` and `script`, the page's own, and the `security_policy` that
    admits these two and nothing else.
    """
    folder = files("assets.page") / "templates"
    style = (folder / "report.css").read_text("utf-8")
    script = (folder / "filter.js").read_text("utf-8")
    return (
        _environment()
        .get_template(name)
        .render(
            style=style, script=script, security_policy=_security_policy(style, script), **content
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assets.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "change": change,
        "counted": counted,
        "display_name": display_name,
        "grouped": grouped,
        "minute": minute,
        "percentage": percentage,
        "short_hash": short_hash,
        "span": span,
        "utc_minute": utc_minute,
    }
    environment.globals |= {
        "ACTORS": ACTORS,
        "ATTENTION_STATUSES": ATTENTION_STATUSES,
        "CHANGE_LABELS": CHANGE_LABELS,
        "NOT_KNOWN": NOT_KNOWN,
        "STATUS_LABELS": STATUS_LABELS,
        "STATUS_STYLES": STATUS_STYLES,
    }
    return environment


def _security_policy(style: str, script: str) -> str:
    """Forbids all network, and every style and script but the page's own.

    So a name that slipped through the escaping could still neither run nor fetch anything.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_fingerprint(style)}'",
            f"script-src '{_fingerprint(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _fingerprint(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
