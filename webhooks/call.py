"""A provider's request, as all of them are verified, and what each provider's module can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flask import Response
from werkzeug.datastructures import Headers, MultiDict

from prefs.address import Address
from prefs.directory import Sender, Tenant
from prefs.policy import Millis
from prefs.settings import Settings
from prefs.texts import Failure, Text, Undelivered


class Forged(Exception):
    """Not signed with a token of an account that sends for the tenant."""


class Misaddressed(Forged):
    """Signed with a token of such an account, for a URL that is ours but for its spelling.

    The URLs are without a query, which may hold a number.
    """

    def __init__(self, account: str, signed: str, configured: str) -> None:
        super().__init__()
        self.account = account
        self.signed = signed
        self.configured = configured


class Refused(Exception):
    """The provider will never take a message to this address. ``code`` is its own."""

    def __init__(self, failure: Failure, code: str) -> None:
        super().__init__(code)
        self.failure = failure
        self.code = code


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook request as its sender signed it, and when it came."""

    url: str
    headers: Headers
    form: "MultiDict[str, str]"
    body: bytes = b""
    heard_at: Millis = 0


class Provider(Protocol):
    """One provider's dialect. A module is one."""

    ANSWERS: bool
    """Whether its webhook's own answer can be the text to the person."""

    def verify(self, call: Call, tenant: Tenant, settings: Settings) -> Sender:
        """The tenant's sender that a webhook is about. Raises ``Forged``, ``Misaddressed``."""

    def translate(self, call: Call, sender: Sender) -> Text | Undelivered | None:
        """What a verified webhook tells of; None where it says nothing of anybody.

        Raises ``BadAddress``, whose field names what the provider must send.
        """

    def reply(self, text: str | None) -> Response:
        """The answer to a webhook, with the text to the person where it can carry one."""

    def times(self, settings: Settings, sender: Sender, ids: Sequence[str]) -> dict[str, Millis]:
        """When messages were sent by the provider's own clock, as far as it says so in time."""

    def send(self, settings: Settings, sender: Sender, to: Address, text: str) -> None:
        """Sends a message to a person, on the channel of their address.

        Raises ``Refused`` where the provider never will, because of the address; ``PerhapsSent``
        where it may have taken it; and anything else where it has not, and may another time.
        """
