"""Telnyx, both directions."""

from webhooks.telnyx.receiving import is_signed, reply, translate, verify
from webhooks.telnyx.sending import send, times

ANSWERS = False
"""The body of a webhook's answer is thrown away: what we say goes by the API."""

__all__ = ["ANSWERS", "is_signed", "reply", "send", "times", "translate", "verify"]
