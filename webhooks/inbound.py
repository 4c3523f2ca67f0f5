"""One door for what providers send: verify, translate, record, reply.

Seen before: answered alike, and nothing changes. A failure of ours: 5xx, so that they come
again. Never 200 for something that was not kept.
"""

from collections.abc import Sequence
from contextlib import suppress

from flask import Blueprint, Response, current_app, request
from sqlalchemy import Connection

from prefs import keywords, letters, texts
from prefs.directory import Directory, Sender, Tenant
from prefs.policy import Outcome
from prefs.texts import Heard, Text, Undelivered
from prefs.web import door
from prefs.web.door import Problem
from webhooks import PROVIDERS, misaddressed
from webhooks.call import Call, Forged, Misaddressed
from webhooks.together import Together

inbound = Blueprint("inbound", __name__)

LONGEST_BODY = 100_000
"""Bytes. A message has 1,600 characters; parsing megabytes from anybody holds a thread."""


@inbound.post("/webhooks/<provider>/<slug>")
def receive(provider: str, slug: str) -> Response:
    module = PROVIDERS.get(provider)
    if module is None:
        raise Problem(404, "There is no such provider.")
    opened = door.installation()
    # The body first: once the form was read, nothing of it is left.
    request.max_content_length = LONGEST_BODY
    body = request.get_data()
    call = Call(_signed_url(), request.headers, request.form, body, door.now())

    def verified(known: Directory) -> tuple[Tenant, Sender] | None:
        tenant = known.tenant(slug)
        try:
            return (tenant, module.verify(call, tenant, opened.settings)) if tenant else None
        except Misaddressed:
            raise
        except Forged:
            return None

    found = None
    try:
        # Looked for in the database too: another worker may have made the sender a moment ago.
        found = opened.directory.find(verified)
    except Misaddressed as signed:
        # Refused all the same: what is configured is what is believed. It is the operator who is
        # told, since until then every no by text is refused.
        with suppress(OSError):
            misaddressed.tell(opened.settings.data, provider, slug, signed, door.now())
    if found is None:
        # Nothing is echoed: whoever forges learns nothing from it.
        raise Problem(403, "The request is not signed by this tenant's provider.")
    tenant, sender = found
    said = module.translate(call, sender)
    reply = None
    if isinstance(said, Undelivered):
        with door.writing() as connection:
            texts.undelivered(connection, tenant, said, door.now())
    elif said is not None:
        reply = _heard(tenant, said)
    answered: Response = module.reply(reply)
    return answered


def _heard(tenant: Tenant, text: Text) -> str | None:
    """Records a text; what the answer to its webhook is to say to the person, if anything."""
    module = PROVIDERS[text.source]
    # What it says is remembered from here. Read in its turn, a long one would keep all others, and
    # on SQLite every writer, from theirs.
    keywords.read(text.body, tenant.words)
    heard = _together(tenant)((tenant, text))
    if heard.unsettled:
        # The no holds already. What the provider says of the order may lift it, and nothing else.
        times = module.times(door.installation().settings, text.sender, heard.unsettled)
        with door.writing() as connection:
            heard = texts.settle(connection, tenant, text, heard, times, door.now())
            _post(connection, tenant, text, heard)
    return heard.reply if module.ANSWERS else None


def _together(tenant: Tenant) -> "Together[tuple[Tenant, Text], Heard]":
    """Where the texts to a tenant meet in this process."""
    opened = door.installation()

    def hear(batch: Sequence[tuple[Tenant, Text]]) -> list[Heard]:
        # The latest knows the most: a sender made a moment ago, a word added.
        latest = batch[-1][0]
        now = opened.clock()
        with opened.database.writing() as connection:
            heard = texts.hear_many(connection, latest, [text for _, text in batch], now)
            for (_, text), one in zip(batch, heard, strict=True):
                if not one.unsettled:
                    _post(connection, latest, text, one)
        return heard

    meeting: dict[int, Together[tuple[Tenant, Text], Heard]]
    meeting = current_app.extensions.setdefault("prefs.texts", {})
    return meeting.setdefault(tenant.id, Together(hear))


def _post(connection: Connection, tenant: Tenant, text: Text, heard: Heard) -> None:
    """Sends the answer to a text where the answer to its webhook cannot carry it."""
    # A webhook that comes again was answered the first time.
    is_new = heard.recorded.outcome is not Outcome.DUPLICATE
    if heard.reply and is_new and not PROVIDERS[text.source].ANSWERS:
        now = door.now()
        letters.answer(connection, tenant, text.sender, text.author, heard.reply, now, text.said_at)


def _signed_url() -> str:
    """The URL that the provider was given, which is what it signs.

    Never from the Host or X-Forwarded headers, which anyone can send. The query as it
    arrived: Werkzeug writes a URL anew, and a %7E comes out as a ~.
    """
    query = request.environ.get("QUERY_STRING", "")
    base = door.installation().settings.public_url + request.path
    return f"{base}?{query}" if query else base
