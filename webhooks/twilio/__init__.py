"""Twilio, both directions."""

from webhooks.twilio.receiving import is_signed, reply, translate, verify
from webhooks.twilio.sending import send, times

ANSWERS = True

__all__ = ["ANSWERS", "is_signed", "reply", "send", "times", "translate", "verify"]
