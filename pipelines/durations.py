"""Spans of time in words."""


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
