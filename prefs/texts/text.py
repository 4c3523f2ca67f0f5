"""A text message, whoever carried it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prefs.address import Address
from prefs.directory import Sender
from prefs.keywords import Says
from prefs.policy import Millis

DOOR = "text message"

ANSWER_WITHIN: Millis = 5 * 60_000
"""47 CFR 64.1200(a)(12): a confirmation sent later is not presumed to be wanted."""


@dataclass(frozen=True, slots=True)
class Text:
    """A message that somebody sent to one of a tenant's senders.

    ``id`` is the ``source``'s own, by which it is heard once. ``taken_for`` is what the provider
    or the carrier took it for, acted upon and answered, if they did. ``said_at`` is when it was
    sent by the clock of ``source``, where that is known.
    """

    sender: Sender
    author: Address = field(repr=False)
    body: str = field(repr=False)
    source: str
    id: str
    taken_for: Says | None = None
    said_at: Millis | None = None
    evidence: Mapping[str, str] = field(default_factory=dict, repr=False)

    def is_ours_to_answer(self, now: Millis) -> bool:
        """Whether nobody else has answered it, and it is not too old to be answered."""
        is_late = self.said_at is not None and now - self.said_at > ANSWER_WITHIN
        return self.taken_for is None and not is_late
