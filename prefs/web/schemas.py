"""What comes in and goes out over the API, field by field. OpenAPI is made from this."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prefs.address import Channel
from prefs.directory import KINDS, PROVIDERS, SCOPES
from prefs.policy import REASONS, Block, Kind, Mode, Outcome, Purpose, Verdict, Voice

MOST_ITEMS = 10_000
WORDS = ("out", "in", "lift", "snooze", "limit")
SPEAKERS = ("person", "sender", "complaint")
BASES = ("express", "soft_opt_in", "implied_purchase", "implied_inquiry", "legitimate_interest")

_EPOCH = datetime.fromtimestamp(0, UTC)
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
_SLUG = validate.Regexp(
    r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\Z",
    error="A slug is 1 to 64 lower-case letters, digits and hyphens.",
)


class Text(fields.String):
    """Text that both databases store as it is: no controls, no half characters."""

    def __init__(self, most: int, least: int = 1, **kwargs: Any) -> None:
        kwargs.setdefault("validate", validate.Length(least, most))
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if _UNSTORABLE.search(text):
            raise ValidationError("Remove the control characters, or send the text as UTF-8.")
        return text


class YesNo(fields.Boolean):
    """True or false, and none of the words and numbers that could stand for them."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Instant(fields.String):
    """A moment in ISO 8601 with its time zone; inside, whole milliseconds."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValidationError("Write the time as in 2026-05-03T10:00:00Z.") from None
        if moment.tzinfo is None:
            raise ValidationError("Add the time zone, as in 2026-05-03T10:00:00Z.")
        millis = (moment - _EPOCH) // timedelta(milliseconds=1)
        if not 0 <= millis < 253_402_300_800_000:
            raise ValidationError("The time is between the years 1970 and 9999.")
        return millis


def instant(**kwargs: Any) -> Instant:
    return Instant(metadata={"format": "date-time"}, **kwargs)


def one_of(choices: Any, **kwargs: Any) -> fields.String:
    return fields.String(validate=validate.OneOf([str(c) for c in choices]), **kwargs)


def slugged(**kwargs: Any) -> fields.String:
    return fields.String(validate=_SLUG, **kwargs)


# --- in ---


class Addressed(Schema):
    channel = one_of(Channel, required=True)
    address = fields.String(
        required=True,
        metadata={
            "description": "An email, a phone number in E.164 or with its region, or "
            "provider:token for push.",
            "examples": ["alice@example.org"],
        },
    )
    region = fields.String(
        metadata={"description": "Where a phone number without + is dialled (ISO 3166)."}
    )


class Check(Addressed):
    topic = fields.String(required=True, metadata={"examples": ["product-news"]})
    explain = YesNo(metadata={"description": "On a transactional topic, look up the notes too."})


class Checks(Schema):
    channel = one_of(Channel, metadata={"description": "For items that name none."})
    topic = fields.String(metadata={"description": "For items that name none."})
    items = fields.List(
        fields.Raw(allow_none=True),
        required=True,
        validate=validate.Length(1, MOST_ITEMS),
        metadata={"description": "Each as in a single check. A bad item fails alone."},
    )


class ScopeIn(Schema):
    """Exactly one of the three. A topic never becomes global by being left out."""

    topic = slugged()
    brand = slugged()
    all = YesNo(validate=validate.Equal(True))

    @validates_schema
    def one(self, data: dict[str, Any], **kwargs: Any) -> None:
        if len(data) != 1:
            raise ValidationError('Name exactly one: {"topic": …}, {"brand": …} or {"all": true}.')


class Preference(Addressed):
    word = one_of(WORDS, required=True)
    scope = fields.Nested(ScopeIn, required=True)
    said_by = one_of(SPEAKERS, required=True)
    door = fields.String(
        load_default="api",
        validate=validate.Regexp(
            r"^[a-z][a-z -]{0,31}\Z", error="A few lower-case words; who it was is evidence."
        ),
        metadata={"examples": ["support call"], "description": "It is kept for ever."},
    )
    said_at = instant()
    saw = fields.Integer(
        strict=True,
        validate=validate.Range(0, 2**53),
        metadata={"description": "The seq that the author was shown; If-Match does the same."},
    )
    until = instant()
    per_week = fields.Integer(
        strict=True,
        validate=validate.Range(0, 50),
        metadata={"description": "Of a limit: at most so many messages a week; 0 ends it."},
    )
    basis = one_of(BASES)
    wording = fields.Dict(
        keys=Text(40),
        values=Text(4000),
        validate=validate.Length(max=20),
        metadata={"description": "What the person had in front of them: text, language, version."},
    )
    override = YesNo(
        metadata={
            "description": "Over a person's own no. Needs a key with the scope override, said_at, "
            "and evidence with said, how and seen."
        }
    )
    evidence = fields.Dict(keys=Text(40), values=Text(4000), validate=validate.Length(max=20))
    person = Text(255, metadata={"description": "Your own id for whoever this is."})
    event_id = Text(
        200, metadata={"description": "Your id of this event: the same is recorded once, ever."}
    )

    @validates_schema
    def whole(self, data: dict[str, Any], **kwargs: Any) -> None:
        needs: dict[str, list[str]] = {}
        word = data.get("word")
        if word == "in":
            if "topic" not in data.get("scope", {}):
                needs["scope"] = ["A consent is to one topic, never to a brand or to all."]
            if "basis" not in data:
                needs["basis"] = ["Say on which lawful basis the consent rests."]
        if word == "snooze" and "until" not in data:
            needs["until"] = ["Say when the snooze ends."]
        if word == "limit":
            if "topic" not in data.get("scope", {}):
                needs["scope"] = ["A limit is of one topic."]
            if "per_week" not in data:
                needs["per_week"] = ["Say how many messages a week."]
        elif "per_week" in data:
            needs["per_week"] = ["This belongs to the word limit alone; leave it out."]
        if data.get("said_by") == "complaint" and (
            word != "out" or not data.get("scope", {}).get("all")
        ):
            needs["said_by"] = ["A complaint is always an out of all."]
        if data.get("override"):
            missing = {"said", "how", "seen"} - set(data.get("evidence", {}))
            if missing:
                needs["evidence"] = [f"An override needs: {', '.join(sorted(missing))}."]
            if "said_at" not in data:
                needs["said_at"] = ["Say when the person said it."]
        if needs:
            raise ValidationError(needs)


class Device(Schema):
    address = fields.String(required=True, metadata={"examples": ["fcm:new-token"]})
    replaces = fields.String(metadata={"description": "The token that this one has replaced."})
    person = Text(255)


class HistoryAsk(Addressed):
    beyond = fields.Integer(strict=True, load_default=0, validate=validate.Range(0, 2**53))
    limit = fields.Integer(strict=True, load_default=100, validate=validate.Range(1, 1000))


class LinkAsk(Addressed):
    topic = slugged(metadata={"description": "What the link leaves. Or a brand, or neither: all."})
    brand = slugged()
    campaign = fields.String(validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,32}\Z"))


class LinksAsk(Schema):
    items = fields.List(
        fields.Nested(LinkAsk), required=True, validate=validate.Length(1, MOST_ITEMS)
    )
    remember = YesNo(
        load_default=True,
        metadata={"description": "Keep the addresses, so that an export can name them."},
    )


class Page(Schema):
    limit = fields.Integer(load_default=1000, validate=validate.Range(1, 10_000))


class ChangesAsk(Page):
    since = fields.String(
        validate=validate.Regexp(
            r"^[0-9]{1,18}\.[0-9]{1,18}\Z", error="This is no cursor of ours."
        ),
        metadata={
            "description": "The cursor of a batch, or of the last page. None: from the start."
        },
    )


class SuppressionsAsk(Page):
    channel = one_of(Channel, required=True)
    topic = slugged(
        metadata={"description": "Who may not get this topic. None: any marketing at all."}
    )
    cursor = fields.String(
        validate=validate.Regexp(r"^[0-9a-f]{32}\Z", error="This is no cursor of ours.")
    )


class TopicIn(Schema):
    slug = slugged(required=True)
    brand = slugged(required=True)
    title = Text(120, required=True)
    description = Text(1000, least=0, load_default="")
    purpose = one_of(Purpose, required=True)
    channels = fields.Dict(
        keys=one_of(Channel),
        values=one_of(Mode, allow_none=True),
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "The consent model per channel; null takes the channel's own."},
    )


class TopicChange(Schema):
    title = Text(120)
    description = Text(1000, least=0)
    channels = fields.Dict(
        keys=one_of(Channel),
        values=one_of([*Mode, "off"], allow_none=True),
        validate=validate.Length(min=1),
        metadata={"description": "Those named are changed; `off` no longer offers it there."},
    )


class BrandIn(Schema):
    slug = slugged(required=True)
    name = Text(120, required=True)
    contact = Text(
        200, required=True, metadata={"description": "What a HELP by text is answered with."}
    )


class BrandChange(Schema):
    name = Text(120)
    contact = Text(200)


class SenderIn(Schema):
    brand = slugged(required=True)
    provider = one_of(PROVIDERS, required=True)
    account = Text(64, required=True)
    identity = Text(
        255, required=True, metadata={"description": "The number, short code or service id."}
    )
    kind = one_of(KINDS, required=True)


class KeyIn(Schema):
    name = Text(120, required=True)
    scopes = fields.List(one_of(SCOPES), required=True, validate=validate.Length(1, len(SCOPES)))


class KeyRotation(Schema):
    grace_hours = fields.Integer(
        strict=True,
        load_default=24,
        validate=validate.Range(0, 720),
        metadata={"description": "How long the old key goes on."},
    )


class TenantChange(Schema):
    name = Text(120)
    confirming_ends_complaint = YesNo(
        metadata={"description": "Whether a confirmed double opt-in may end a spam complaint."}
    )


# --- out ---


class Out(Schema):
    """What goes out is built by hand; these say what it looks like."""


class ScopeOut(Out):
    topic = fields.String()
    brand = fields.String()
    all = fields.Boolean()


class Ground(Out):
    seq = fields.Integer()
    what = one_of(Kind)
    voice = fields.String()
    when = instant()
    door = fields.String()


class Decision(Out):
    decision = one_of(Verdict, required=True)
    allowed = fields.Boolean(required=True)
    reason = one_of(REASONS, required=True)
    explanation = fields.String(required=True)
    scope = fields.Nested(ScopeOut, required=True, allow_none=True)
    event = fields.Nested(Ground, required=True, allow_none=True)
    notes = fields.List(fields.String(), required=True)
    valid_until = instant(required=True)


class ItemDecision(Decision):
    address = fields.String(
        allow_none=True, metadata={"description": "As the caller wrote it; null if not text."}
    )
    field = fields.String()
    detail = fields.String()


class Decisions(Out):
    items = fields.List(fields.Nested(ItemDecision), required=True)
    cursor = fields.String(required=True, allow_none=True)


class WordOut(Out):
    seq = fields.Integer()
    scope = fields.Nested(ScopeOut)
    voice = one_of(Voice)
    heard_at = instant()
    said_at = instant(allow_none=True)
    until = instant(allow_none=True)
    basis = fields.String()
    block = one_of(Block)
    per_week = fields.Integer()
    door = fields.String()


class StandingOut(Out):
    seq = fields.Integer(required=True)
    outs = fields.List(fields.Nested(WordOut), required=True)
    consents = fields.List(fields.Nested(WordOut), required=True)
    snoozes = fields.List(fields.Nested(WordOut), required=True)
    blocks = fields.List(fields.Nested(WordOut), required=True)
    limits = fields.List(fields.Nested(WordOut), required=True)


class StandingAnswer(StandingOut):
    topics = fields.Dict(keys=fields.String(), values=fields.Nested(Decision), required=True)


class RecordedOut(Out):
    outcome = one_of(Outcome, required=True)
    explanation = fields.String(required=True)
    standing = fields.Nested(StandingOut, required=True)


class EventOut(Out):
    seq = fields.Integer(required=True)
    what = one_of(Kind, required=True)
    sentence = fields.String(required=True)
    outcome = one_of(Outcome, required=True)
    scope = fields.Nested(ScopeOut, required=True)
    voice = fields.String(allow_none=True)
    authority = fields.String()
    heard_at = instant(required=True)
    said_at = instant(allow_none=True)
    until = instant(allow_none=True)
    saw = fields.Integer(allow_none=True)
    basis = fields.String()
    block = fields.String(allow_none=True)
    per_week = fields.Integer(allow_none=True)
    door = fields.String()
    source = fields.String(allow_none=True)
    source_id = fields.String(allow_none=True)
    evidence = fields.Dict(allow_none=True)


class HistoryOut(Out):
    events = fields.List(fields.Nested(EventOut), required=True)
    more = fields.Boolean(required=True)


class ChangeOut(EventOut):
    channel = one_of(Channel)
    address = fields.String(allow_none=True)


class ChangesOut(Out):
    changes = fields.List(fields.Nested(ChangeOut), required=True)
    cursor = fields.String(required=True)
    more = fields.Boolean(required=True)


class Suppression(Decision):
    address = fields.String(allow_none=True, required=True)


class Suppressions(Out):
    suppressions = fields.List(fields.Nested(Suppression), required=True)
    unknown_addresses = fields.Integer(
        required=True, metadata={"description": "Rows of this page whose address is erased."}
    )
    cursor = fields.String(allow_none=True, required=True)


class LinkOut(Out):
    address = fields.String(required=True)
    unsubscribe = fields.URL(required=True, relative=False, require_tld=False)
    preferences = fields.URL(required=True, relative=False, require_tld=False)
    headers = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class LinksOut(Out):
    items = fields.List(fields.Nested(LinkOut), required=True)


class TopicOut(Out):
    slug = fields.String(required=True)
    brand = fields.String(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    purpose = one_of(Purpose, required=True)
    channels = fields.Dict(keys=fields.String(), values=one_of(Mode), required=True)


class TopicsOut(Out):
    topics = fields.List(fields.Nested(TopicOut), required=True)


class BrandOut(Out):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    contact = fields.String(required=True)


class BrandsOut(Out):
    brands = fields.List(fields.Nested(BrandOut), required=True)


class SenderOut(SenderIn):
    id = fields.Integer(required=True)


class SendersOut(Out):
    senders = fields.List(fields.Nested(SenderOut), required=True)


class KeyOut(Out):
    id = fields.String(required=True)
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = instant(required=True)
    ends_at = instant(required=True, allow_none=True)
    key = fields.String(
        allow_none=True, metadata={"description": "Shown once, when it is made; null if repeated."}
    )


class KeysOut(Out):
    keys = fields.List(fields.Nested(KeyOut), required=True)


class TenantOut(Out):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    confirming_ends_complaint = fields.Boolean(required=True)


class Problem(Out):
    """RFC 9457."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
    allowed = fields.Boolean()
    decision = fields.String()
    reason = fields.String()
