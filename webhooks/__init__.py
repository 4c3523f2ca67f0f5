"""Other machines' dialects. ``prefs`` never imports this."""

from webhooks import twilio

PROVIDERS = {"twilio": twilio}
"""Name in the URL -> module. Each has ``verify``, ``translate`` and ``reply``."""
