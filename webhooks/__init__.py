"""Other machines' dialects. ``prefs`` never imports this."""

from collections.abc import Mapping

from webhooks import telnyx, twilio
from webhooks.call import Provider

PROVIDERS: Mapping[str, Provider] = {"twilio": twilio, "telnyx": telnyx}
"""Name in the URL -> the module that speaks its dialect."""
