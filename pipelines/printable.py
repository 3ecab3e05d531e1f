"""Words for people: names that somebody else chose, shown without letting them act; spans."""


def printable(text: str) -> str:
    r"""Escapes what would act instead of being seen, and folds white space.

    Hosts and committers choose names; a terminal or a chat would obey the control characters, line
    breaks and direction marks in them. They come out as Python escapes, such as `\x1b` or `\u202e`.
    """
    if not text.isprintable():
        text = "".join(
            character
            if character.isprintable()
            else character.encode("unicode_escape").decode("ascii")
            for character in text
        )
    return " ".join(text.split()) if "  " in text else text


def shortened(text: str, length: int) -> str:
    """Cuts text to a length, with an ellipsis where something is left out."""
    return text if len(text) <= length else text[: length - 1] + "…"


def duration(seconds: float) -> str:
    """A span in its two largest units, such as `3d 4h`."""
    minutes, rest = divmod(int(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        text = f"{days}d {hours}h"
    elif hours:
        text = f"{hours}h {minutes}m"
    elif minutes:
        text = f"{minutes}m {rest}s"
    else:
        text = f"{rest}s"
    return f"-{text}" if seconds < 0 else text
