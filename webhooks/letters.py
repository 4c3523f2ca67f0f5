"""Sends the letters that are due, from a thread of every worker."""

import logging
import threading
import time
from contextlib import suppress

from prefs import letters, texts
from prefs.address import Address, Channel
from prefs.directory import Directory, Sender, Tenant
from prefs.installation import Installation
from prefs.letters import Letter, PerhapsSent
from prefs.texts import Undelivered
from webhooks import PROVIDERS, smtp
from webhooks.call import Refused

POLL_SECONDS = 2.0
TIDY_SECONDS = 3600.0
MOST_IN_A_PASS = 100

log = logging.getLogger("prefs.letters")


class NothingSends(Exception):
    """No mail server is set, or no number of the brand has a token."""


def watch(opened: Installation) -> None:
    """Delivers and tidies from a thread of its own, until the process ends."""
    threading.Thread(target=_watch, args=(opened,), name="letters", daemon=True).start()


def _watch(opened: Installation) -> None:
    tidied = -TIDY_SECONDS
    while True:
        time.sleep(POLL_SECONDS)
        # Whatever goes wrong, this thread goes on: people wait for their letters.
        try:
            deliver(opened)
        except Exception as error:
            log.warning("letters have to wait: %s", type(error).__name__)
        if time.monotonic() - tidied > TIDY_SECONDS:
            with suppress(Exception):
                tidy(opened)
                tidied = time.monotonic()


def tidy(opened: Installation, at_once: int = 1000) -> None:
    """Forgets what is over, so many in a transaction: while one runs on SQLite, all wait."""
    done = at_once
    while done == at_once:
        with opened.database.writing() as connection:
            done = letters.tidy(connection, opened.clock(), at_once)


def deliver(opened: Installation) -> int:
    """One pass: sends what is due, and returns how many letters went out."""
    gone = 0
    for _ in range(MOST_IN_A_PASS):
        with opened.database.reading() as connection:
            if not letters.is_due(connection, opened.clock()):
                break
        with opened.database.writing() as connection:
            # One at a time: the lease of a second would run while the first is being sent.
            claimed = letters.claim_due(connection, opened.clock(), 1)
        gone += sum(_deliver(opened, letter) for letter in claimed)
    return gone


def _deliver(opened: Installation, letter: Letter) -> bool:
    taken, again, perhaps = False, False, False
    try:
        taken = _send(opened, letter)
    except PerhapsSent:
        log.warning("a letter by %s may be on its way: no answer came", letter.channel)
        again = perhaps = True
    except Exception as error:
        # Its name alone: what servers say quotes addresses.
        log.warning("a letter by %s has to wait: %s", letter.channel, type(error).__name__)
        again = True
    with opened.database.writing() as connection:
        if taken:
            letters.sent(connection, letter, opened.clock())
        else:
            now = opened.clock()
            letters.failed(connection, letter, now, for_good=not again, perhaps_sent=perhaps)
    return taken


def _send(opened: Installation, letter: Letter) -> bool:
    """Whether it was taken; False if it never will be, or must no longer go."""
    settings, now = opened.settings, opened.clock()

    def owner(known: Directory) -> Tenant | None:
        tenant = known.tenants.get(letter.tenant_id)
        if tenant is None or tenant.brand_of(letter.scope) is None:
            return None
        about_a_topic = letter.scope.topic is not None
        return None if about_a_topic and tenant.topic_of(letter.scope) is None else tenant

    tenant = opened.directory.find(owner)
    brand = tenant.brand_of(letter.scope) if tenant else None
    if tenant is None or brand is None or letter.value is None:
        return False
    with opened.database.reading() as connection:
        if not letters.is_wanted(connection, tenant, letter, now):
            return False
    if letter.text is not None:
        return _answer(opened, tenant, letter)
    if not letters.can_send(settings, tenant, brand, letter.channel):
        raise NothingSends
    written = letters.written(tenant, letter, opened.links, settings.public_url)
    if letter.channel is Channel.SMS:
        sender = letters.texting(settings, tenant, brand.id)
        assert sender
        return _text(opened, tenant, letter, sender, written.text)
    assert settings.smtp
    own = brand.mail_from
    message = smtp.compose(
        written,
        sender=own,
        name=brand.named(letter.language),
        to=letter.value,
        language=letter.language,
        identity=tenant.fingerprint(f"letter {letter.id}"),
        now=now,
    )
    return smtp.send(settings.smtp, message, own, letter.value)


def _answer(opened: Installation, tenant: Tenant, letter: Letter) -> bool:
    """Sends the answer to a text from where the text had come to."""
    assert letter.text
    sender = next((s for s in tenant.hearing if s.id == letter.sender_id), None)
    if sender is None:
        return False
    return _text(opened, tenant, letter, sender, letter.text)


def _text(opened: Installation, tenant: Tenant, letter: Letter, sender: Sender, words: str) -> bool:
    """Sends a text. What a provider refuses because of whom it is for is news of them to us: a
    STOP that it alone has heard, a number that takes no texts."""
    assert letter.value
    to = Address(letter.channel, letter.value)
    try:
        PROVIDERS[sender.provider].send(opened.settings, sender, to, words)
    except Refused as refused:
        said = Undelivered(sender, to, refused.failure, refused.code, "letter", str(letter.id))
        with opened.database.writing() as connection:
            texts.undelivered(connection, tenant, said, opened.clock())
        return False
    return True
