"""The only reader and writer of consent.

An event, its outcome, its evidence and the address's standing are written in one
transaction, under the address's lock. Events are only appended, and the event table is the
outbox too: ``changes`` reads it in the order of commit.

Every function takes the connection of a transaction that its door has opened, and a tenant.
"""

from prefs.ledger.reading import (
    changes,
    family,
    heard,
    here,
    history,
    known,
    of_person,
    replay,
    roll,
    standing,
    standings,
    suppressed,
)
from prefs.ledger.words import (
    ASKED,
    EMPTY,
    OUTCOMES,
    SENTENCES,
    Change,
    Cursor,
    Difference,
    Entry,
    Known,
    Recorded,
    Said,
    Subject,
    sentence,
    unpacked,
)
from prefs.ledger.writing import carried, lock, record, record_many, remember, replace_token

__all__ = [
    "ASKED",
    "EMPTY",
    "OUTCOMES",
    "SENTENCES",
    "Change",
    "Cursor",
    "Difference",
    "Entry",
    "Known",
    "Recorded",
    "Said",
    "Subject",
    "carried",
    "changes",
    "family",
    "heard",
    "here",
    "history",
    "known",
    "lock",
    "of_person",
    "record",
    "record_many",
    "remember",
    "replace_token",
    "replay",
    "roll",
    "sentence",
    "standing",
    "standings",
    "suppressed",
    "unpacked",
]
