"""Twilio's API, by its own client: https://www.twilio.com/docs/messaging/api/message-resource"""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefs.address import Address, Channel
from prefs.directory import Sender
from prefs.letters import PerhapsSent
from prefs.policy import Millis
from prefs.settings import Settings
from prefs.texts import Failure
from webhooks.call import Refused
from webhooks.twilio.receiving import failure_of

if TYPE_CHECKING:
    from twilio.http import HttpClient
    from twilio.rest import Client

SECONDS = 10
"""To wait for Twilio's API."""

LOOKUP_SECONDS = 3
"""To wait for it while Twilio waits for us: it gives up after 15 seconds."""

ALL_LOOKUPS_SECONDS = 7
"""After which no other one is begun."""

log = logging.getLogger("prefs.twilio")


_SCHEMES = {Channel.WHATSAPP: "whatsapp:", Channel.RCS: "rcs:"}


class NoToken(Exception):
    """The account has no token here."""


def client(
    settings: Settings,
    account: str,
    seconds: float = SECONDS,
    http_client: "HttpClient | None" = None,
) -> "Client":
    """Twilio's client for an account. Raises ``NoToken``."""
    # They take a second to import.
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    tokens = settings.provider_tokens("twilio", account)
    if not tokens:
        raise NoToken
    made = Client(
        account,
        tokens[0],
        http_client=http_client or TwilioHttpClient(timeout=seconds),
        # An empty one would be the process's own, where anything may stand.
        environment={"TWILIO_EDGE": "", "TWILIO_REGION": ""},
    )
    if settings.twilio_api:
        for domain in (made.api, made.accounts, made.messaging):
            domain.base_url = settings.twilio_api
    return made


def send(settings: Settings, sender: Sender, to: Address, text: str) -> None:
    """Hands Twilio a message.

    Raises ``Refused`` if it never will, ``TwilioRestException``, or what ``requests`` raises, where
    it may another time, and ``PerhapsSent`` where it may have taken it: Twilio sends twice what it
    is told twice.
    """
    from requests.exceptions import ReadTimeout
    from twilio.base.exceptions import TwilioRestException

    is_service = sender.identity.startswith("MG")
    # Twilio names the channel before a number, but before one of its own services' ids.
    scheme = _SCHEMES.get(to.channel, "")
    origin = {"messaging_service_sid": sender.identity}
    if not is_service:
        origin = {"from_": f"{scheme}{sender.identity}"}
    try:
        client(settings, sender.account).messages.create(
            to=f"{scheme}{to.value}", body=text, **origin
        )
    except TwilioRestException as error:
        failure = failure_of(error.code)
        if failure is None or failure is Failure.PERHAPS_UNREACHABLE:
            raise
        raise Refused(failure, str(error.code)) from None
    except ReadTimeout:
        raise PerhapsSent from None


def times(settings: Settings, sender: Sender, ids: Sequence[str]) -> dict[str, Millis]:
    """When Twilio says that each of the messages was made, as far as it says so in time.

    A webhook carries no time of its own; only the API knows it, to the second.
    """
    found: dict[str, Millis] = {}
    began = time.monotonic()
    try:
        twilio = client(settings, sender.account, LOOKUP_SECONDS)
        for sid in ids:
            if time.monotonic() - began > ALL_LOOKUPS_SECONDS:
                break
            if made := twilio.messages(sid).fetch().date_created:
                found[sid] = int(made.timestamp() * 1000)
    except Exception as error:
        # Whatever went wrong, the order stays unknown, and the person out.
        log.warning("Twilio's times could not be looked up: %s", type(error).__name__)
    return found
