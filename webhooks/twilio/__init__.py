"""Twilio, both directions."""

from webhooks.twilio.receiving import DOOR, Heard, Yes, is_signed, reply, translate, verify
from webhooks.twilio.sending import send

__all__ = ["DOOR", "Heard", "Yes", "is_signed", "reply", "send", "translate", "verify"]
