"""Changing what tenants own: whoever holds it hears of every change by its revision."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Table, exc, select, update

from prefs import gsm, keywords, languages, tables
from prefs.address import Address, BadAddress, Channel
from prefs.database import insert
from prefs.directory.holding import (
    NO_SENDER,
    BadEntry,
    Brand,
    Sender,
    Taken,
    Tenant,
    Texts,
    Unknown,
    brand_now,
    sample_of,
    sender_now,
    tenant_now,
    topic_now,
)
from prefs.look import BadLook, Look, checked
from prefs.policy import Millis, Mode, Purpose, Topic
from prefs.settings import BadSetting

PROVIDERS = ("twilio", "telnyx")
KINDS = (
    "long_code",
    "toll_free",
    "short_code",
    "messaging_service",
    "advanced_opt_out",
    "whatsapp",
    "rcs",
)
"""What kind of sender a number or service is; it decides who answers a STOP."""

PURPOSES = ("both", "marketing", "transactional")
"""What a sender sends."""

LEAVES = ("all", "brand", "topic")
"""What a STOP to a sender leaves."""

REPLIES = ("stop_reply", "start_reply", "help_reply")
"""A brand's own answers to STOP, START and HELP, with {brand}, {contact} and {topics} put in."""

WORDS_SAY = ("out", "start", "help")
"""What a tenant's own word can say."""

MOST_WORDS = 200
LONGEST_WORD = 60

BRAND_TEXTS = ("name", "about", *REPLIES)
TOPIC_TEXTS = ("title", "description")
MOST_LANGUAGES = 60
MOST_CHOICES = 5
MOST_PER_WEEK = 50


def is_marked(connection: Connection) -> bool:
    """Whether the database has belonged to an installation before."""
    return connection.execute(select(tables.installation.c.id)).first() is not None


def is_prepared(connection: Connection, master: bytes) -> bool:
    """Whether the installation is marked with this digest secret; False if with none yet.

    Raises ``BadSetting`` if it is another one: every address would look unknown, and every
    no would be lost.
    """
    marked = connection.scalar(select(tables.installation.c.digest_sample))
    if marked is not None and marked != sample_of(master):
        raise BadSetting(
            "PREFS_DIGEST_KEY is not the secret that this database was made with: restore that one"
        )
    return marked is not None


def prepare(connection: Connection, master: bytes) -> None:
    """Marks a new installation with its digest secret. Raises ``BadSetting``."""
    table = tables.installation
    # Several workers may start at once.
    connection.execute(
        insert(connection, table)
        .values(id=1, revision=1, digest_sample=sample_of(master))
        .on_conflict_do_nothing()
    )
    is_prepared(connection, master)


_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise BadEntry("slug", "a slug is 1 to 64 lower-case letters, digits and hyphens")
    return text


def _add(connection: Connection, table: Table, field: str, **values: Any) -> int:
    try:
        with connection.begin_nested():
            made = connection.execute(table.insert().values(**values))
    except exc.IntegrityError:
        raise Taken(field, f"there is a {table.name} of that name already") from None
    changed(connection)
    assert made.inserted_primary_key
    return int(made.inserted_primary_key[0])


def changed(connection: Connection) -> None:
    """Tells every worker that there is something new."""
    table = tables.installation
    connection.execute(update(table).values(revision=table.c.revision + 1))


def add_tenant(connection: Connection, slug: str, name: str, now: Millis) -> int:
    """Makes a tenant and returns its id. Raises ``BadEntry``, ``Taken``."""
    return _add(connection, tables.tenant, "slug", slug=_slug(slug), name=name, created_at=now)


def change_tenant(
    connection: Connection,
    tenant: Tenant,
    *,
    name: str | None = None,
    confirming_ends_complaint: bool | None = None,
    language: str | None = None,
    words: Mapping[str, str | None] | None = None,
) -> Tenant:
    """Changes a tenant, and returns it as it is now. ``language`` is for whoever has shown no
    other. Raises ``BadEntry``.

    Of its own words for texts, those named are set, or with None taken away.
    """
    if language is not None and language not in languages.ALL:
        raise BadEntry("language", f"the language is one of: {', '.join(languages.ALL)}")
    table = tables.tenant
    before = tenant_now(connection, tenant)
    given = _given(
        name=name,
        confirming_ends_complaint=confirming_ends_complaint,
        language=language,
        words=None if words is None else _words(words, before.words),
    )
    if given:
        connection.execute(update(table).where(table.c.id == tenant.id).values(given))
    changed(connection)
    return tenant_now(connection, tenant)


def _words(given: Mapping[str, str | None], before: Mapping[str, str]) -> str:
    """A tenant's own words, in normal form. None of them hides what is a no to everybody."""
    kept = {word: str(says) for word, says in before.items()}
    for text, says in given.items():
        word = keywords.normal(text)
        if not word or len(word) > LONGEST_WORD:
            raise BadEntry("words", f"a word or phrase has 1 to {LONGEST_WORD} letters and digits")
        if says is None:
            kept.pop(word, None)
            continue
        if says not in WORDS_SAY:
            raise BadEntry("words", f"a word says one of: {', '.join(WORDS_SAY)}")
        known = keywords.read(word).says
        if known is keywords.Says.OUT and says != known:
            raise BadEntry("words", "that is a no to everybody, and can be nothing else")
        if says == keywords.Says.START and (known is keywords.Says.REVIEW or keywords.yes_in(word)):
            raise BadEntry("words", "that may be no or yes to something else; choose another word")
        kept[word] = str(says)
    if len(kept) > MOST_WORDS:
        raise BadEntry("words", f"there may be {MOST_WORDS} words at most")
    return json.dumps(kept)


def _given(**values: Any) -> dict[str, Any]:
    """What is to be changed, and nothing that another change may just have set."""
    return {name: value for name, value in values.items() if value is not None}


def add_brand(
    connection: Connection,
    tenant_id: int,
    slug: str,
    name: str,
    contact: str,
    now: Millis,
    *,
    postal_address: str = "",
    mail_from: str = "",
    look: Mapping[str, str] | None = None,
    texts: Texts | None = None,
) -> int:
    """Makes a brand; ``contact`` is what HELP answers with. Raises ``BadEntry``, ``Taken``."""
    return _add(
        connection,
        tables.brand,
        "slug",
        tenant_id=tenant_id,
        slug=_slug(slug),
        name=name,
        contact=contact,
        postal_address=postal_address,
        mail_from=_mailbox(mail_from),
        look=_look(look or {}, Look()),
        texts=_texts(texts or {}, {}, BRAND_TEXTS),
        created_at=now,
    )


def change_brand(
    connection: Connection,
    tenant: Tenant,
    slug: str,
    *,
    name: str | None = None,
    contact: str | None = None,
    postal_address: str | None = None,
    mail_from: str | None = None,
    look: Mapping[str, str] | None = None,
    texts: Texts | None = None,
) -> Brand:
    """Changes what people see of a brand, and returns it as it is now.

    Of its look and texts, those named are changed; an empty text takes it away. Raises
    ``Unknown``, ``BadEntry``.
    """
    table, brand = tables.brand, brand_now(connection, tenant, slug)
    given = _given(
        name=name,
        contact=contact,
        postal_address=postal_address,
        mail_from=None if mail_from is None else _mailbox(mail_from),
        look=None if look is None else _look(look, brand.look),
        texts=None if texts is None else _texts(texts, brand.texts, BRAND_TEXTS),
    )
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == brand.id)
    if given:
        connection.execute(update(table).where(mine).values(given))
    changed(connection)
    return brand_now(connection, tenant, slug)


# What `email.utils.parseaddr` reads back as it was written: signs of its own stand in quotes.
_BREAKING = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_PLAIN = rf'{_BREAKING}"(),:;<>@\[\\\]'
_NAMED = re.compile(rf'(?:[^ {_PLAIN}][^{_PLAIN}]*|"[^{_BREAKING}"\\]+") <([^<>]+)>')


def _mailbox(text: str) -> str:
    """A From as it is kept. One with a line break in it could write headers of its own."""
    named = _NAMED.fullmatch(text)
    address = named[1] if named else text
    if text and not _is_address(address):
        raise BadEntry(
            "mail_from",
            "write the sender of mails as `news@acme.example` or `Acme <news@acme.example>`, on "
            "one line; a name with a comma or another such sign stands in double quotes",
        )
    return text


_PLACES = re.compile(r"\{(brand|contact|topics)\}")
FOR_PLACES = 40
"""Characters of an answer that are left for each name put in."""


def _check_reply(name: str, text: str) -> None:
    """Raises ``BadEntry`` for an answer that would cost more than one text."""
    written, places = _PLACES.subn("", text)
    if "{" in written or "}" in written:
        raise BadEntry("texts", f"in {name}, only {{brand}}, {{contact}} and {{topics}} are put in")
    if gsm.septets(gsm.plain(written)) + FOR_PLACES * places > gsm.ONE_TEXT:
        raise BadEntry(
            "texts",
            f"a {name} has {gsm.ONE_TEXT} characters at most, each of ^{{}}\\[~]|€ counted twice, "
            f"and {FOR_PLACES} for each name that is put in",
        )


def _is_address(text: str) -> bool:
    try:
        address = Address.parse(Channel.EMAIL, text)
    except BadAddress:
        return False
    # Spelt as it is known, so that nothing around it was forgiven.
    return address.can_consent and address.value == text.lower() and text.isascii()


def _look(given: Mapping[str, str], before: Look) -> str:
    try:
        return json.dumps(asdict(checked(given, before)))
    except BadLook as error:
        raise BadEntry(f"look.{error.field}", str(error)) from None


_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


def _texts(given: Texts, before: Texts, names: tuple[str, ...]) -> str:
    for code, said in given.items():
        if not _LANGUAGE.fullmatch(code) or not languages.is_code(code):
            raise BadEntry("texts", languages.NO_CODE)
        if said.keys() - set(names):
            raise BadEntry("texts", f"in each language there are the texts: {', '.join(names)}")
        for name in said.keys() & set(REPLIES):
            _check_reply(name, said[name])
    both = {code: {**before.get(code, {}), **said} for code, said in {**before, **given}.items()}
    kept = {code: {n: text for n, text in said.items() if text} for code, said in both.items()}
    kept = {code: said for code, said in kept.items() if said}
    if len(kept) > MOST_LANGUAGES:
        raise BadEntry("texts", f"there may be texts in {MOST_LANGUAGES} languages at most")
    return json.dumps(kept)


def add_topic(
    connection: Connection,
    tenant_id: int,
    brand_id: int,
    slug: str,
    title: str,
    description: str,
    purpose: Purpose,
    offered: Mapping[Channel, Mode],
    now: Millis,
    *,
    at_most: Collection[int] = (),
    texts: Texts | None = None,
) -> int:
    """Makes a topic. Its purpose never changes. Raises ``BadEntry``, ``Taken``."""
    return _add(
        connection,
        tables.topic,
        "slug",
        tenant_id=tenant_id,
        brand_id=brand_id,
        slug=_slug(slug),
        title=title,
        description=description,
        purpose=purpose,
        offered=_offered(offered),
        at_most=_choices(at_most, purpose),
        texts=_texts(texts or {}, {}, TOPIC_TEXTS),
        created_at=now,
    )


def _offered(offered: Mapping[Channel, Mode]) -> str:
    if not offered:
        raise BadEntry("channels", "name at least one channel that the topic goes out on")
    return json.dumps({str(channel): str(mode) for channel, mode in offered.items()})


def _choices(at_most: Collection[int], purpose: Purpose) -> str:
    """How many a week people may choose between."""
    if at_most and purpose is Purpose.TRANSACTIONAL:
        raise BadEntry(
            "at_most", "a transactional topic always passes, so nobody can limit it; leave this out"
        )
    chosen = sorted(set(at_most))
    within = all(1 <= number <= MOST_PER_WEEK for number in chosen)
    if not within or len(chosen) < len(at_most) or len(chosen) > MOST_CHOICES:
        raise BadEntry(
            "at_most",
            f"name up to {MOST_CHOICES} different numbers of messages a week, each from 1 to "
            f"{MOST_PER_WEEK}",
        )
    return json.dumps(chosen)


def change_topic(
    connection: Connection,
    tenant: Tenant,
    slug: str,
    *,
    title: str | None = None,
    description: str | None = None,
    offered: Mapping[Channel, Mode] | None = None,
    at_most: Collection[int] | None = None,
    texts: Texts | None = None,
) -> Topic:
    """Changes what a topic is called, where it goes out and how often, and returns it as it is
    now. Of its texts, those named are changed. Raises ``Unknown``, ``BadEntry``."""
    table, topic = tables.topic, topic_now(connection, tenant, slug)
    given = _given(
        title=title,
        description=description,
        offered=None if offered is None else _offered(offered),
        at_most=None if at_most is None else _choices(at_most, topic.purpose),
        texts=None if texts is None else _texts(texts, topic.texts, TOPIC_TEXTS),
    )
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == topic.scope.topic)
    if given:
        connection.execute(update(table).where(mine).values(given))
    changed(connection)
    return topic_now(connection, tenant, slug)


def default_mode(channel: Channel) -> Mode:
    """The consent model of marketing where the tenant names none.

    All but email need an express yes: 47 CFR 64.1200 for texts, Meta's policy for WhatsApp,
    the carriers' for RCS; for push, the system asks.
    """
    return Mode.OPT_OUT if channel is Channel.EMAIL else Mode.OPT_IN


def add_sender(
    connection: Connection,
    tenant_id: int,
    brand_id: int,
    provider: str,
    account: str,
    identity: str,
    kind: str,
    now: Millis,
    *,
    purpose: str = "both",
    leaves: str = "all",
    topic: Topic | None = None,
    clarifies: bool = False,
    by_operator: bool = False,
) -> int:
    """Makes a sender: a number, short code or service. Raises ``BadEntry``, ``Taken``.

    One that was removed begins anew, under its old number. ``topic`` is what a STOP leaves, if
    ``leaves`` is so. Tokens are the installation's: an account by which another tenant sends is
    shared by whoever runs it (``by_operator``), and by no tenant's own admin.
    """
    if not by_operator:
        _must_be_nobody_elses(connection, tenant_id, provider, account)
    if provider not in PROVIDERS:
        raise BadEntry("provider", f"the provider is one of: {', '.join(PROVIDERS)}")
    if kind not in KINDS:
        raise BadEntry("kind", f"the kind is one of: {', '.join(KINDS)}")
    if kind in ("long_code", "toll_free", "whatsapp"):
        # Inbound messages find their sender by it, so it must be spelt as the provider does.
        if not identity.strip().startswith(("+", "00")):
            raise BadEntry("identity", "write the number with + and its country code")
        try:
            identity = Address.parse(Channel.SMS, identity).value
        except BadAddress as error:
            raise BadEntry("identity", str(error)) from None
    elif kind == "rcs":
        # Providers write an agent with its channel, and it is looked for without.
        identity = identity.removeprefix("rcs:")
    own = {"tenant_id": tenant_id, "provider": provider, "account": account, "identity": identity}
    values = {
        "brand_id": brand_id,
        "kind": kind,
        "created_at": now,
        **_stops(brand_id, purpose, leaves, topic),
        "clarifies": clarifies,
    }
    table = tables.sender
    again = connection.execute(
        update(table)
        .where(*(table.c[name] == value for name, value in own.items()))
        .where(table.c.removed_at.is_not(None))
        .values(**values, removed_at=None)
        .returning(table.c.id)
    ).scalar()
    if again is not None:
        changed(connection)
        return int(again)
    return _add(connection, table, "identity", **own, **values)


def _must_be_nobody_elses(
    connection: Connection, tenant_id: int, provider: str, account: str
) -> None:
    """Raises ``BadEntry`` where another tenant sends by the account: by naming it, a tenant would
    send with its token, and read what people text to it."""
    table = tables.sender
    others = select(table.c.id).where(
        table.c.provider == provider, table.c.account == account, table.c.tenant_id != tenant_id
    )
    if connection.execute(others.limit(1)).first() is not None:
        raise BadEntry(
            "account",
            "this account cannot be added here; whoever runs the installation adds it, with "
            "`prefs sender add`",
        )


def _stops(brand_id: int, purpose: str, leaves: str, topic: Topic | None) -> dict[str, Any]:
    if purpose not in PURPOSES:
        raise BadEntry("purpose", f"what it sends is one of: {', '.join(PURPOSES)}")
    if leaves not in LEAVES:
        raise BadEntry("leaves", f"what a STOP leaves is one of: {', '.join(LEAVES)}")
    if (leaves == "topic") != (topic is not None):
        raise BadEntry(
            "topic", "name the topic that a STOP leaves where it leaves one, and only so"
        )
    if topic is not None and topic.scope.brand != brand_id:
        raise BadEntry("topic", "the topic belongs to another brand than the sender")
    if topic is not None and topic.purpose is Purpose.TRANSACTIONAL:
        raise BadEntry("topic", "a transactional topic always passes; name a marketing topic")
    return {
        "purpose": purpose,
        "leaves": leaves,
        "topic_id": None if topic is None else topic.scope.topic,
    }


def change_sender(
    connection: Connection,
    tenant: Tenant,
    sender_id: int,
    *,
    purpose: str | None = None,
    leaves: str | None = None,
    topic: Topic | None = None,
    clarifies: bool | None = None,
) -> Sender:
    """Changes what a sender sends and what a STOP to it leaves, and returns it as it is now.

    Raises ``Unknown``, ``BadEntry``.
    """
    table = tables.sender
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == sender_id)
    row = connection.execute(
        select(table).where(mine, table.c.removed_at.is_(None)).with_for_update()
    ).first()
    if row is None:
        raise Unknown("sender", NO_SENDER)
    given = _given(clarifies=clarifies)
    if leaves is None and topic is None and row.leaves == "topic":
        given |= _given(purpose=purpose)
        if purpose is not None and purpose not in PURPOSES:
            raise BadEntry("purpose", f"what it sends is one of: {', '.join(PURPOSES)}")
    else:
        given |= _stops(row.brand_id, purpose or row.purpose, leaves or row.leaves, topic)
    if given:
        connection.execute(update(table).where(mine).values(given))
    changed(connection)
    return sender_now(connection, tenant, sender_id)


def remove_sender(connection: Connection, tenant: Tenant, sender_id: int, now: Millis) -> None:
    """Takes a sender away. It sends no more, and what people answer it is heard as ever: whoever
    still has its last message may say no to it. Raises ``Unknown``."""
    table = tables.sender
    removed = connection.execute(
        update(table)
        .where(table.c.tenant_id == tenant.id, table.c.id == sender_id)
        .where(table.c.removed_at.is_(None))
        .values(removed_at=now)
        .returning(table.c.id)
    ).first()
    if removed is None:
        raise Unknown("sender", NO_SENDER)
    changed(connection)
