"""What stands between Twilio and us for a tenant, and what must be mended."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from twilio.request_validator import RequestValidator

from prefs.address import Channel
from prefs.directory import Sender, Tenant
from prefs.policy import Millis, Purpose, written
from prefs.settings import Settings
from webhooks import misaddressed
from webhooks.twilio.guessing import mend
from webhooks.twilio.receiving import webhook_path

RETRIES = "#rc=5&rp=all"
"""Five more times, whatever failed. Without it Twilio comes again once, and only where it could
not connect: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides"""

RECENT: Millis = 24 * 3_600_000
"""A request signed for another URL is taken for a fault so long after it came."""

_WE_ALONE = "we answer every word, and block"
_REST = "we answer other words"

ANSWERS = {
    "long_code": f"Twilio answers STOP, START and HELP, and blocks this number; {_REST}",
    "toll_free": f"the carriers answer STOP and UNSTOP, and block this number; {_REST}",
    "short_code": _WE_ALONE,
    "messaging_service": "Twilio answers STOP, START and HELP, and blocks the whole service; "
    + _REST,
    "advanced_opt_out": f"Advanced Opt-Out answers its words and blocks the whole service; {_REST}",
    "whatsapp": _WE_ALONE,
    "rcs": _WE_ALONE,
}
"""Who answers a text to a sender of a kind."""


@dataclass(slots=True)
class Examined:
    """``shows`` is how it stands, ``advises`` what were better, ``faults`` what must be mended."""

    shows: list[str] = field(default_factory=list)
    advises: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def examine(settings: Settings, tenant: Tenant, now: Millis) -> Examined:
    """How a tenant's senders stand with Twilio; nothing where it has none."""
    found = Examined()
    mine = [sender for sender in tenant.hearing if sender.provider == "twilio"]
    if not mine:
        return found
    url = f"{settings.public_url}{webhook_path(tenant)}"
    found.shows = [
        f"{tenant.slug}: enter at Twilio, for each number or its Messaging Service, with HTTP POST",
        f'  "A message comes in":    {url}{RETRIES}',
        f'  "Primary handler fails": {url}{RETRIES}',
        f"  status callback:         {url}{RETRIES}",
        "  The fallback is the same URL: once more, and what was heard is heard once.",
    ]
    if fault := _unreachable(settings.public_url):
        found.faults.append(fault)
    for account in sorted({sender.account for sender in mine}):
        tokens = len(settings.provider_tokens("twilio", account))
        rotating = ", as during a rotation" if tokens > 1 else ""
        found.shows.append(f"  account {account}: {_counted(tokens, 'token')}{rotating}")
        if not tokens and any(sender.account == account for sender in tenant.senders):
            found.faults.append(
                f"{tenant.slug}: no token for {account}, so every STOP to its senders is refused: "
                f"`prefs sender token {account}`"
            )
        _misaddressed(found, settings, tenant, account, now)
    found.shows += [f"  {_described(tenant, sender)}" for sender in mine]
    found.advises += _shared(tenant)
    return found


def _unreachable(public_url: str) -> str | None:
    parts = urlsplit(public_url)
    host = parts.hostname or ""
    try:
        is_public = ip_address(host).is_global
    except ValueError:
        is_public = "." in host
    if parts.scheme == "https" and is_public:
        return None
    return (
        f"PREFS_PUBLIC_URL is {public_url}, where Twilio reaches nobody: set it, for the server "
        "and the commands, to the https:// address at which your proxy answers"
    )


def _misaddressed(
    found: Examined, settings: Settings, tenant: Tenant, account: str, now: Millis
) -> None:
    seen = misaddressed.last(settings.data, "twilio", tenant.slug, account)
    if seen is None:
        return
    at = f"{written(seen.at)[:19].replace('T', ' ')} UTC"
    ours = f"{settings.public_url}{webhook_path(tenant)}"
    if seen.signed == ours or now - seen.at > RECENT:
        found.shows.append(
            f"    {at}: one was refused that was signed for {seen.signed} when this was "
            f"{seen.configured}"
        )
        return
    found.faults.append(
        f"{tenant.slug}: a request that {account} had signed was refused, last at {at}.\n"
        f"    Twilio signed    {seen.signed}\n"
        f"    configured is    {ours}\n"
        f"  {_sentence(mend(seen.signed, settings.public_url, webhook_path(tenant)))}"
    )


def _described(tenant: Tenant, sender: Sender) -> str:
    brand = next(b.slug for b in tenant.brands.values() if b.id == sender.brand_id)
    left = tenant.told(sender.scope)
    sends = {"both": "marketing and transactional"}.get(sender.purpose, sender.purpose)
    removed = "" if sender in tenant.senders else ", removed and still heard"
    return (
        f"{sender.identity} ({sender.kind}, brand {brand}{removed}) sends {sends}; a STOP leaves "
        f"{'all marketing' if left == 'all' else left}; {ANSWERS[sender.kind]}."
    )


def _shared(tenant: Tenant) -> Iterator[str]:
    """Senders whose STOP, which the provider keeps for all that they send, stops a code too."""
    channels = {"whatsapp": Channel.WHATSAPP, "rcs": Channel.RCS}
    for sender in tenant.senders:
        channel = channels.get(sender.kind, Channel.SMS)
        has_codes = any(
            topic.purpose is Purpose.TRANSACTIONAL and channel in topic.offered
            for topic in tenant.topics.values()
            if topic.scope.brand == sender.brand_id
        )
        if sender.provider == "twilio" and sender.purpose == "both" and has_codes:
            yield (
                f"{tenant.slug}: {sender.identity} sends marketing and transactional. Where Twilio "
                "or the carrier blocks after a STOP, codes to log in are blocked too: have a "
                "number or Messaging Service for each, and say here which is which (its purpose)"
            )


def layout(settings: Settings, tenant: Tenant) -> list[str]:
    """What Twilio signs, shown with a token and a message that are made up."""
    url = f"{settings.public_url}{webhook_path(tenant)}"
    sid = "0" * 32
    fields = {
        "AccountSid": f"AC{sid}",
        "Body": "STOP",
        "From": "+14155550123",
        "MessageSid": f"SM{sid}",
        "To": "+14155550199",
    }
    signature = RequestValidator("made-up").compute_signature(url, fields)
    return [
        "What Twilio signs is the URL it was given, with its query and without its fragment, and "
        "then every",
        "field's name and value, by name, with nothing between. With the token `made-up`, and "
        "fewer fields:",
        f"  {url}{''.join(name + value for name, value in fields.items())}",
        f"  X-Twilio-Signature: {signature}",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
