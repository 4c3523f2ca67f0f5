"""Telling Twilio whom we do not text, and finding where it and we differ.

Twilio's Consent API takes what we say and lists nothing: its side is what the ledger knows that it
was told. https://www.twilio.com/docs/messaging/features/consent-api
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from prefs import ledger, progress
from prefs.address import Address, Channel
from prefs.directory import Sender, Tenant
from prefs.installation import Installation
from prefs.keywords import Says
from prefs.ledger import Change, Cursor, Entry
from prefs.policy import (
    NOTHING,
    Authority,
    Decision,
    Kind,
    Message,
    Millis,
    Outcome,
    Purpose,
    Standing,
    Topic,
    Verdict,
    Voice,
    after,
    fold,
    may_send,
    written,
)
from webhooks.twilio.receiving import at_least_acted_upon

MOST_ITEMS = 25
SECONDS_BETWEEN = 0.6
"""Twilio takes 25 items a call and 100 calls a minute."""

AT_ONCE = 1000

_KINDS = ("long_code", "toll_free", "short_code", "messaging_service", "advanced_opt_out")
"""Numbers and services: what a consent of Twilio's can be about."""

_OWN_ACT = frozenset(
    {
        Authority.START,
        Authority.PERSON,
        Authority.CONFIRMED,
        Authority.CONFIRMED_OVER_COMPLAINT,
    }
)
"""Who may tell Twilio that somebody is back: the person alone."""


@dataclass
class Pushed:
    """What Twilio was told about a sender, or would be; and its errors, by code."""

    sender: Sender
    opt_outs: int = 0
    opt_ins: int = 0
    errors: Counter[int] = field(default_factory=Counter)


class Differing(NamedTuple):
    """The addresses of a sender about which Twilio and we disagree."""

    sender: Sender
    twilio_blocks: list[Address]
    we_are_stricter: list[Address]


def marketing(tenant: Tenant) -> list[Sender]:
    """The senders that Twilio may be told about. An opt-out of one that sends transactional
    messages too would block those."""
    by_twilio = [s for s in tenant.senders if s.provider == "twilio" and s.kind in _KINDS]
    return [sender for sender in by_twilio if sender.purpose == "marketing"]


def opt_outs_cursor(sender: Sender) -> str:
    return f"twilio consents {sender.identity}"


def opt_ins_cursor(sender: Sender) -> str:
    return f"twilio opt-ins {sender.identity}"


# --- our side ---


def _topics(tenant: Tenant, sender: Sender) -> list[Topic]:
    return [
        topic
        for topic in tenant.topics.values()
        if topic.scope.brand == sender.brand_id and topic.purpose is Purpose.MARKETING
    ]


def _left(tenant: Tenant, sender: Sender, standing: Standing, now: Millis) -> Decision | None:
    """The no for which nothing that this sender sends may go out, if it is one that lasts: a pause
    ends by itself, a text that waits is decided, and Twilio would not know."""
    topics = _topics(tenant, sender)
    decision = ledger.suppressed(standing, topics, Channel.SMS, now)
    if decision is None or decision.ground is None or decision.ground.what != Kind.OUT:
        return None
    reasons = {
        may_send(Message(topic, Channel.SMS), standing, now).reason
        for topic in topics
        if Channel.SMS in topic.offered
    }
    return None if reasons & {"snoozed", "in_review"} else decision


def _sends(tenant: Tenant, sender: Sender, standing: Standing, now: Millis) -> bool:
    return any(
        may_send(Message(topic, Channel.SMS), standing, now).verdict is Verdict.ALLOW
        for topic in _topics(tenant, sender)
    )


# --- Twilio's side, as far as it was told ---


def _told_stop(entry: Entry, sender: Sender) -> bool:
    """Whether Twilio or the carrier has taken it for a STOP to this sender, or said so (21610)."""
    event, said = entry.event, entry.evidence or {}
    if event.kind is not Kind.OUT or event.voice is not Voice.STOP or event.ours_alone:
        return False
    if entry.outcome is not Outcome.APPLIED:
        # By Twilio's time, a START came after it.
        return False
    return said.get("to", said.get("from", sender.identity)) == sender.identity


def _told_start(entry: Entry, sender: Sender) -> bool:
    """Whether Twilio or the carrier has taken it for a START to this sender."""
    event, said = entry.event, entry.evidence or {}
    if not said:
        # One that was heard before, and settled by Twilio's time or carried from RCS.
        return event.kind is Kind.LIFT and event.authority is Authority.START
    if said.get("to") != sender.identity:
        return False
    # YES is one for Twilio, whatever it is for us.
    taken = at_least_acted_upon(sender, Channel.SMS, said.get("text", ""))
    return taken in (Says.START, Says.NOTHING) or said.get("opt_out_type") == "START"


def _blocked(
    tenant: Tenant,
    sender: Sender,
    history: Sequence[Entry],
    now: Millis,
    *,
    opt_outs_to: int,
    opt_ins_to: int,
) -> tuple[bool, Entry | None]:
    """Whether Twilio blocks, and the person's own later act by which it could be told to end it.

    What it was told about the address by us, it was told up to these numbers of its events.
    """
    blocked, back, standing = False, None, NOTHING
    retracted = any(entry.event.retracts for entry in history)
    for at, entry in enumerate(history, 1):
        if retracted:
            standing, _ = fold([past.event for past in history[:at]])
        else:
            standing, _ = after(standing, entry.event)
        pushed = entry.seq <= opt_outs_to and _left(tenant, sender, standing, now)
        if pushed or _told_stop(entry, sender):
            blocked, back = True, None
        elif _told_start(entry, sender):
            blocked, back = False, None
        if blocked and _is_own_act(entry) and _sends(tenant, sender, standing, now):
            back = entry
            if entry.seq <= opt_ins_to and sender.kind != "toll_free":
                blocked, back = False, None
    return blocked, back


def _is_own_act(entry: Entry) -> bool:
    event = entry.event
    said_yes = event.kind in (Kind.IN, Kind.LIFT) and event.authority in _OWN_ACT
    return said_yes and entry.outcome is Outcome.APPLIED


# --- pushing ---


def push(
    opened: Installation,
    tenant: Tenant,
    sender: Sender,
    *,
    opt_ins: bool,
    dry_run: bool,
    sleep: Callable[[float], None],
) -> Pushed:
    """Tells Twilio what was said since the last time. Raises ``NoToken``, ``Stopped``.

    Killed anywhere, another run tells it the rest, and of a few the same again.
    """
    done = Pushed(sender)
    tell = _Telling(opened, sender, done, dry_run, sleep)
    for changes in _since(opened, tenant, opt_outs_cursor(sender), dry_run, tell.flush):
        for item in _opt_outs(opened, tenant, sender, changes):
            done.opt_outs += 1
            tell(item)
    if opt_ins and sender.kind != "toll_free":
        for changes in _since(opened, tenant, opt_ins_cursor(sender), dry_run, tell.flush):
            for item in _opt_ins(opened, tenant, sender, changes):
                done.opt_ins += 1
                tell(item)
    return done


def _since(
    opened: Installation,
    tenant: Tenant,
    name: str,
    dry_run: bool,
    before: Callable[[], None],
) -> Iterator[list[Change]]:
    """What was said of numbers since a cursor, which moves once ``before`` has passed it on."""
    with opened.database.reading() as connection:
        place = progress.place(connection, tenant.id, name)
    cursor = Cursor.parse(place) if place else Cursor()
    while True:
        with opened.database.reading() as connection:
            changes = ledger.changes(connection, tenant.id, cursor, AT_ONCE)
        if not changes:
            return
        yield [change for change in changes if change.channel is Channel.SMS and change.value]
        before()
        cursor = changes[-1].cursor
        if not dry_run:
            with opened.database.writing() as connection:
                progress.move(connection, tenant.id, name, str(cursor))


def _opt_outs(
    opened: Installation, tenant: Tenant, sender: Sender, changes: Sequence[Change]
) -> list[dict[str, str]]:
    now = opened.clock()
    values = {change.digest: change.value for change in changes}
    items = []
    with opened.database.reading() as connection:
        known = ledger.standings(connection, tenant.id, list(values))
        for digest, value in values.items():
            standing = known.get(digest) or ledger.standing(connection, tenant.id, digest)
            decision = _left(tenant, sender, standing, now)
            if decision is None or decision.ground is None or value is None:
                continue
            ground = decision.ground
            source = "opt-out-message" if ground.voice == Voice.STOP else _source(ground.door)
            about = f"{digest.hex()} {ground.seq}"
            items.append(_item(tenant, sender, value, about, "opt-out", source, ground.when))
    return items


def _opt_ins(
    opened: Installation, tenant: Tenant, sender: Sender, changes: Sequence[Change]
) -> list[dict[str, str]]:
    now = opened.clock()
    values = {change.digest: change.value for change in changes}
    first: dict[bytes, int] = {}
    for change in changes:
        first.setdefault(change.digest, change.seq)
    items = []
    with opened.database.reading() as connection:
        for digest, value in values.items():
            if not _sends(tenant, sender, ledger.standing(connection, tenant.id, digest), now):
                continue
            history = ledger.history(connection, tenant.id, digest)
            blocked, back = _blocked(
                tenant,
                sender,
                history,
                now,
                opt_outs_to=history[-1].seq,
                opt_ins_to=first[digest] - 1,
            )
            if not blocked or back is None or value is None:
                continue
            event = back.event
            when = event.heard_at if event.said_at is None else event.said_at
            source = "opt-in-message" if event.door == "text message" else _source(event.door)
            about = f"{digest.hex()} {back.seq}"
            items.append(_item(tenant, sender, value, about, "opt-in", source, when))
    return items


_WEBSITE = frozenset(
    {
        "app switch",
        "confirmation page",
        "one-click",
        "preference page",
        "sign-up form",
        "undo",
        "unsubscribe link",
    }
)


def _source(door: str) -> str:
    return "website" if door in _WEBSITE else "others"


def _item(
    tenant: Tenant,
    sender: Sender,
    number: str,
    about: str,
    status: str,
    source: str,
    when: Millis,
) -> dict[str, str]:
    return {
        "contact_id": number,
        # 32 characters, ours, by which the answer names the item.
        "correlation_id": tenant.fingerprint(f"{sender.identity} {about} {status}"),
        "sender_id": sender.identity,
        "status": status,
        "source": source,
        "date_of_consent": f"{written(when)[:19]}Z",
    }


class _Telling:
    """Sends items by the 25, no faster than Twilio takes them."""

    def __init__(
        self,
        opened: Installation,
        sender: Sender,
        done: Pushed,
        dry_run: bool,
        sleep: Callable[[float], None],
    ) -> None:
        self._opened = opened
        self._sender = sender
        self._done = done
        self._dry_run = dry_run
        self._sleep = sleep
        self._client: Any = None
        self._items: list[dict[str, str]] = []

    def __call__(self, item: dict[str, str]) -> None:
        self._items.append(item)
        if len(self._items) == MOST_ITEMS:
            self.flush()

    def flush(self) -> None:
        if self._items and not self._dry_run:
            self._send()
        self._items = []

    def _send(self) -> None:
        from webhooks.twilio.patient import BAD_ANSWERS, Stopped, patient, refused, status_of

        account = self._sender.account
        if self._client is None:
            self._client = patient(self._opened.settings, account, self._sleep)
        else:
            self._sleep(SECONDS_BETWEEN)
        try:
            items = [json.dumps(item) for item in self._items]
            answer = self._client.accounts.v1.bulk_consents.create(items=items)
        except BAD_ANSWERS as error:
            if status_of(error) == 404:
                raise Stopped(
                    f"The Consent API is not enabled for {account}: it comes with Twilio's "
                    "Compliance Toolkit, or ask Twilio's support"
                ) from None
            raise refused(error, account) from None
        codes = [int(item.get("error_code") or 0) for item in answer.items or []]
        self._done.errors.update(code for code in codes if code)


# --- differences ---


def differences(opened: Installation, tenant: Tenant, sender: Sender) -> Differing:
    """Where a sender's Twilio and we differ, by what the ledger knows that Twilio was told."""
    now = opened.clock()
    found = Differing(sender, [], [])
    with opened.database.reading() as connection:
        pushed = [
            _untold(connection, tenant, name)
            for name in (opt_outs_cursor(sender), opt_ins_cursor(sender))
        ]
        beyond = b""
        while roll := ledger.roll(connection, tenant.id, Channel.SMS, beyond, AT_ONCE):
            beyond = roll[-1].digest
            for known in roll:
                # A first word alone that was no no is none of which Twilio was told.
                if known.value is None or not (known.standing.outs or known.standing.seq > 1):
                    continue
                history = ledger.history(connection, tenant.id, known.digest)
                opt_outs_to, opt_ins_to = (
                    0 if untold is None else untold.get(known.digest, known.standing.seq + 1) - 1
                    for untold in pushed
                )
                blocked, _ = _blocked(
                    tenant, sender, history, now, opt_outs_to=opt_outs_to, opt_ins_to=opt_ins_to
                )
                address = Address(Channel.SMS, known.value)
                if blocked and _sends(tenant, sender, known.standing, now):
                    found.twilio_blocks.append(address)
                elif not blocked and _left(tenant, sender, known.standing, now):
                    found.we_are_stricter.append(address)
    return found


def _untold(connection: Connection, tenant: Tenant, name: str) -> dict[bytes, int] | None:
    """The first event of each address that Twilio was not told of; None if it was told nothing."""
    place = progress.place(connection, tenant.id, name)
    if place is None:
        return None
    untold: dict[bytes, int] = {}
    cursor = Cursor.parse(place)
    while changes := ledger.changes(connection, tenant.id, cursor, AT_ONCE):
        for change in changes:
            untold.setdefault(change.digest, change.seq)
        cursor = changes[-1].cursor
    return untold
