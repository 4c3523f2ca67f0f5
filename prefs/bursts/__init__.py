"""Opt-outs through links that look like a machine's: flagged, and taken back by an operator alone.

Some security scanners open every link of a mail and press every button. Whoever they pressed
for is out at once and stays out: a no in doubt is a no. Nothing here is stored when an out is
recorded; a burst is found when somebody looks, and finding writes nothing.
"""

from prefs.bursts.finding import (
    AT_LEAST,
    DOORS,
    LOOK_BACK,
    Burst,
    Flagged,
    Found,
    Member,
    UnknownBurst,
    find,
    named,
)
from prefs.bursts.undoing import (
    UNDONE_AT_ONCE,
    Became,
    Touched,
    Turn,
    Undone,
    reasoned,
    undo,
)

__all__ = [
    "AT_LEAST",
    "DOORS",
    "LOOK_BACK",
    "UNDONE_AT_ONCE",
    "Became",
    "Burst",
    "Flagged",
    "Found",
    "Member",
    "Touched",
    "Turn",
    "Undone",
    "UnknownBurst",
    "find",
    "named",
    "reasoned",
    "undo",
]
