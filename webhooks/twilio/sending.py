"""Our texts, by Twilio: https://www.twilio.com/docs/messaging/api/message-resource"""

from prefs.directory import Sender
from prefs.letters import PerhapsSent
from prefs.settings import Settings

SECONDS = 10
"""To wait for Twilio's API."""

_NEVER = frozenset(
    {
        21211,  # not a phone number
        21610,  # its owner replied STOP
        21614,  # a number that takes no texts
    }
)
"""Errors that another try does not mend: https://www.twilio.com/docs/api/errors"""


def send(settings: Settings, sender: Sender, to: str, text: str) -> bool:
    """Whether Twilio took the message; False if it never will.

    Raises ``TwilioRestException``, or what ``requests`` raises, where it may another time, and
    ``PerhapsSent`` where it may have taken it: Twilio sends twice what it is told twice.
    """
    # They take a second to import, and only this function needs them.
    from requests.exceptions import ReadTimeout
    from twilio.base.exceptions import TwilioRestException
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    token = settings.provider_tokens("twilio", sender.account)[0]
    client = Client(
        sender.account,
        token,
        http_client=TwilioHttpClient(timeout=SECONDS),
        # An empty one would be the process's own, where anything may stand.
        environment={"TWILIO_EDGE": "", "TWILIO_REGION": ""},
    )
    if settings.twilio_api:
        client.api.base_url = settings.twilio_api
    is_service = sender.identity.startswith("MG")
    origin = {"messaging_service_sid" if is_service else "from_": sender.identity}
    try:
        client.messages.create(to=to, body=text, **origin)
    except TwilioRestException as error:
        if error.code in _NEVER:
            return False
        raise
    except ReadTimeout:
        raise PerhapsSent from None
    return True
