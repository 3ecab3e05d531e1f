"""What an SQLSTATE means to us: above all, whether trying again can help.

Belongs here: the one list of SQLSTATEs, by what they ask of whoever reads the message. Does not
belong here: the messages, which know what was being done.

Decided by code and not by words, because a server speaks the language of its `lc_messages`.
"""

from enum import Enum


class Cause(Enum):
    """Why a statement failed; the value says whether the same may succeed later."""

    def __init__(self, name: str, passes: bool) -> None:
        self.word = name
        self.passes = passes

    LOST = "the connection ended", True
    BUSY = "others were in the way, or it took too long", True
    FULL = "the server lacks something", True
    READ_ONLY = "the server accepts no writes", False
    FORBIDDEN = "the role lacks a privilege", False
    DATA = "a row, or an expression over it, can't be computed", False
    DAMAGED = "what is stored is damaged", False
    OTHER = "something else", False


# The longest prefix counts.
_CAUSES: dict[str, Cause] = {
    # Without a word: the connection broke.
    "": Cause.LOST,
    "08": Cause.LOST,
    "57P01": Cause.LOST,
    "57P02": Cause.LOST,
    "57P03": Cause.LOST,
    "57P05": Cause.LOST,
    # Cancelled: by a time-out, or by a person.
    "57014": Cause.BUSY,
    # Serialization failures, among them a standby's conflict with recovery; deadlocks.
    "40": Cause.BUSY,
    "55P03": Cause.BUSY,
    # The time-outs of an idle and of a long transaction.
    "25P03": Cause.BUSY,
    "25P04": Cause.BUSY,
    # The snapshot is too old.
    "72": Cause.BUSY,
    "53": Cause.FULL,
    "58030": Cause.FULL,
    "25006": Cause.READ_ONLY,
    "42501": Cause.FORBIDDEN,
    "21": Cause.DATA,
    "22": Cause.DATA,
    "23": Cause.DATA,
    "2F": Cause.DATA,
    "38": Cause.DATA,
    "39": Cause.DATA,
    "P0": Cause.DATA,
    "58P01": Cause.DAMAGED,
    "XX001": Cause.DAMAGED,
    "XX002": Cause.DAMAGED,
}


def cause_of(state: str) -> Cause:
    """What a statement failed of.

    Args:
        state: the SQLSTATE; empty where there was none.
    """
    if not state:
        return Cause.LOST
    lengths = (5, 3, 2)
    found = (_CAUSES.get(state[:length]) for length in lengths)
    return next((cause for cause in found if cause is not None), Cause.OTHER)
