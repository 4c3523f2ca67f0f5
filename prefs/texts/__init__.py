"""What people text to a tenant's numbers: heard, kept with the rule that read it, answered once.

Nothing here knows a provider. ``webhooks`` translates what each of them sends into a ``Text`` or
an ``Undelivered``, and carries the one answer back.
"""

from prefs.texts.carrying import lock
from prefs.texts.delivering import Failure, Undelivered, undelivered
from prefs.texts.hearing import Heard, hear, hear_many, settle
from prefs.texts.reassigning import Reassigned, reassigned
from prefs.texts.reviewing import (
    Decided,
    NoReview,
    Page,
    Waiting,
    all_waiting,
    decide,
    due_on,
    named,
    waiting,
)
from prefs.texts.text import DOOR, Text

__all__ = [
    "DOOR",
    "Decided",
    "Failure",
    "Heard",
    "NoReview",
    "Page",
    "Reassigned",
    "Text",
    "Undelivered",
    "Waiting",
    "all_waiting",
    "decide",
    "due_on",
    "hear",
    "hear_many",
    "lock",
    "named",
    "reassigned",
    "settle",
    "undelivered",
    "waiting",
]
