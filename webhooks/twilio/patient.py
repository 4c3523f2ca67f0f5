"""Twilio's API, asked again while it says "not now". Only for what may be asked twice.

Imported where it is used: Twilio's client takes a second.
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any

from requests.exceptions import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from prefs.settings import Settings
from webhooks.twilio.sending import client

SECONDS = 30
"""To wait for a page of messages: nobody waits for us."""

TIMES = 5
LONGEST_WAIT = 300.0
"""Seconds. Whoever is to wait longer stops, and goes on at the next run."""

BAD_ANSWERS = (TwilioException, JSONDecodeError)
"""What Twilio's client raises on an answer that it cannot use: one that some proxy gave too."""

Sleep = Callable[[float], None]


class Stopped(Exception):
    """Twilio's API gave no answer to go on with. The message says why, and how to go on."""


class _Patient(TwilioHttpClient):  # type: ignore[misc]
    def __init__(self, sleep: Sleep) -> None:
        super().__init__(timeout=SECONDS)
        self._sleep = sleep

    def request(self, *args: Any, **kwargs: Any) -> Response:
        for attempt in range(1, TIMES + 1):
            wait = float(2**attempt)
            try:
                answer = super().request(*args, **kwargs)
            except RequestException as error:
                # Its name alone: what it says quotes the URL.
                said = f"could not be reached ({type(error).__name__})"
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
                said = f"answered {answer.status_code}"
                wait = _retry_after(answer) or wait
            if wait > LONGEST_WAIT:
                raise Stopped(f"Twilio {said} and asks to wait for {wait:.0f} seconds")
            if attempt < TIMES:
                self._sleep(wait)
        raise Stopped(f"Twilio {said}, {TIMES} times")


def _retry_after(answer: Response) -> float | None:
    """The seconds of a Retry-After, which is a number or a date (RFC 9110 section 10.2.3)."""
    said = (answer.headers or {}).get("Retry-After", "")
    try:
        if said.isdecimal():
            return float(said)
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def patient(settings: Settings, account: str, sleep: Sleep) -> Client:
    """Twilio's client for what may be asked twice: a list, a file, an upsert. ``NoToken``."""
    return client(settings, account, http_client=_Patient(sleep))


def status_of(error: Exception) -> int:
    """The HTTP status of an answer that the client takes for an error; 0 if it is none."""
    if isinstance(error, TwilioRestException):
        return int(error.status)
    answers = [part for part in error.args if isinstance(part, Response)]
    # What keeps to RFC 9457 comes as another exception, with a status of its own.
    return int(answers[0].status_code if answers else getattr(error, "status", 0))


def refused(error: Exception, account: str) -> Stopped:
    """What to tell of an answer that another try does not mend."""
    status = status_of(error)
    if status in (401, 403):
        return Stopped(
            f"Twilio refuses the token of {account}: `prefs sender token {account}` takes a new one"
        )
    return Stopped(f"Twilio answered {status or 'what cannot be read'}")
