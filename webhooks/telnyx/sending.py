"""Telnyx's API: https://developers.telnyx.com/api-reference/messages/send-a-message"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefs.address import Address
from prefs.directory import Sender
from prefs.letters import PerhapsSent
from prefs.policy import Millis
from prefs.settings import Settings
from prefs.texts import Failure
from webhooks.call import Refused
from webhooks.telnyx.payload import entries, parsed, string
from webhooks.telnyx.receiving import failure_of

if TYPE_CHECKING:
    from requests import PreparedRequest

API = "https://api.telnyx.com"

SECONDS = 10
"""To wait for Telnyx's API."""

_PROFILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_NEVER = (Failure.STOPPED, Failure.INVALID, Failure.UNREACHABLE)
"""What another try does not mend."""


class NoKey(Exception):
    """The account has no API key here."""


class NotTaken(Exception):
    """Telnyx did not take it. The message is a status: its own words quote addresses."""


def times(settings: Settings, sender: Sender, ids: Sequence[str]) -> dict[str, Millis]:
    """Nothing to look up: every webhook carries Telnyx's own time."""
    return {}


def send(settings: Settings, sender: Sender, to: Address, text: str) -> None:
    """Hands Telnyx a message.

    Raises ``Refused`` if it never will take it; ``NoKey``, ``NotTaken``, or what ``requests``
    raises, where it may another time; and ``PerhapsSent`` where it may have taken it: Telnyx sends
    twice what it is told twice.
    """
    # It takes a while to import.
    import requests

    keys = settings.sending_tokens("telnyx", sender.account)
    if not keys:
        raise NoKey

    def bearer(request: "PreparedRequest") -> "PreparedRequest":
        request.headers["Authorization"] = f"Bearer {keys[0]}"
        return request

    is_profile = _PROFILE.fullmatch(sender.identity)
    origin = {"messaging_profile_id" if is_profile else "from": sender.identity}
    try:
        answer = requests.post(
            f"{settings.telnyx_api or API}/v2/messages",
            json={"to": to.value, "text": text, **origin},
            # A plain header would lose to whatever a .netrc says of the host.
            auth=bearer,
            timeout=SECONDS,
            allow_redirects=False,
        )
    except requests.ReadTimeout:
        raise PerhapsSent from None
    if 200 <= answer.status_code < 300:
        return
    for error in entries(parsed(answer.content), "errors"):
        failure = failure_of(code := string(error, "code"))
        if failure in _NEVER:
            raise Refused(failure, code)
    raise NotTaken(answer.status_code)
