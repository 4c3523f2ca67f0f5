"""What we ourselves send: the question whether somebody wants a topic, and a link they asked for.

An address that somebody has typed in is kept in the letter alone, until it was answered or can
be no longer. Only the answer of whoever reads that mailbox, or holds that phone, makes it known.
"""

from prefs.letters.answering import Agreed, Confirmed, confirm, refuse, said_yes
from prefs.letters.asking import (
    GO_BY,
    Asked,
    Letter,
    answer,
    ask,
    ask_for_link,
    asks_in_vain,
)
from prefs.letters.posting import (
    PerhapsSent,
    can_send,
    claim_due,
    failed,
    is_due,
    is_wanted,
    sent,
    texting,
    tidy,
    waiting,
    writer,
)
from prefs.letters.words import Written, welcome, written

__all__ = [
    "GO_BY",
    "Agreed",
    "Asked",
    "Confirmed",
    "Letter",
    "PerhapsSent",
    "Written",
    "answer",
    "ask",
    "ask_for_link",
    "asks_in_vain",
    "can_send",
    "claim_due",
    "confirm",
    "failed",
    "is_due",
    "is_wanted",
    "refuse",
    "said_yes",
    "sent",
    "texting",
    "tidy",
    "waiting",
    "welcome",
    "writer",
    "written",
]
