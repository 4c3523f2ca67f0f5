"""One door for what providers send: verify, translate, record, reply.

Seen before: answered alike, and nothing changes. A failure of ours: 5xx, so that they come
again. Never 200 for something that was not kept.
"""

from flask import Blueprint, Response, request

from prefs import ledger, letters
from prefs.directory import Directory, Sender, Tenant
from prefs.web import door
from prefs.web.door import Problem
from webhooks import PROVIDERS
from webhooks.call import Call, Forged

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
    call = Call(_signed_url(), request.headers, request.form, body)

    def verified(known: Directory) -> tuple[Tenant, Sender] | None:
        tenant = known.tenant(slug)
        try:
            return (tenant, module.verify(call, tenant, opened.settings)) if tenant else None
        except Forged:
            return None

    # Looked for in the database too: another worker may have made the sender a moment ago.
    found = opened.directory.find(verified)
    if found is None:
        # Nothing is echoed: whoever forges learns nothing from it.
        raise Problem(403, "The request is not signed by this tenant's provider.")
    tenant, sender = found
    heard = module.translate(call, tenant, sender, door.now())
    recorded = agreed = None
    if heard.said is not None or heard.yes is not None:
        with door.writing() as connection:
            if heard.yes is not None:
                agreed = letters.said_yes(
                    connection,
                    tenant,
                    heard.yes.address,
                    sender.brand_id,
                    heard.yes.languages,
                    through=module.DOOR,
                    evidence=heard.yes.evidence,
                    now=door.now(),
                    source=provider,
                    source_id=heard.yes.source_id,
                )
            if agreed is not None:
                recorded = agreed.recorded
            elif heard.said is not None:
                recorded = ledger.record(connection, tenant.id, heard.said)
    answered: Response = module.reply(heard, recorded, agreed, tenant, sender)
    return answered


def _signed_url() -> str:
    """The URL that the provider was given, which is what it signs.

    Never from the Host or X-Forwarded headers, which anyone can send. The query as it
    arrived: Werkzeug writes a URL anew, and a %7E comes out as a ~.
    """
    query = request.environ.get("QUERY_STRING", "")
    base = door.installation().settings.public_url + request.path
    return f"{base}?{query}" if query else base
