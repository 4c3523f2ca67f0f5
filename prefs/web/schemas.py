"""What comes in and goes out over the API, field by field. OpenAPI is made from this."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prefs import languages
from prefs.address import Channel
from prefs.bursts import Became
from prefs.directory import (
    KINDS,
    MOST_CHOICES,
    MOST_LANGUAGES,
    MOST_PER_WEEK,
    PROVIDERS,
    SCOPES,
)
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


def instant(metadata: Mapping[str, str] | None = None, **kwargs: Any) -> Instant:
    return Instant(metadata={"format": "date-time", **(metadata or {})}, **kwargs)


def one_of(choices: Any, **kwargs: Any) -> fields.String:
    return fields.String(validate=validate.OneOf([str(c) for c in choices]), **kwargs)


def doored() -> fields.String:
    return fields.String(
        load_default="api",
        validate=validate.Regexp(
            r"^[a-z][a-z -]{0,31}\Z", error="A few lower-case words; who it was is evidence."
        ),
        metadata={"examples": ["support call"], "description": "It is kept for ever."},
    )


def slugged(**kwargs: Any) -> fields.String:
    return fields.String(validate=_SLUG, **kwargs)


def spoken(**kwargs: Any) -> fields.String:
    return fields.String(
        validate=[
            validate.Regexp(
                r"^(?=.{2,16}\Z)[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*\Z",
                error=f"{languages.NO_CODE[:1].upper()}{languages.NO_CODE[1:]}.",
            ),
            _there_is,
        ],
        **kwargs,
    )


def _there_is(code: str) -> None:
    if not languages.is_code(code):
        raise ValidationError("There is no language of that code.")


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
    door = doored()
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


class ConfirmationAsk(Addressed):
    channel = one_of(
        (Channel.EMAIL, Channel.SMS),
        required=True,
        metadata={"description": "An app asks for push by itself."},
    )
    topic = slugged(required=True)
    language = spoken(metadata={"description": "Of the question. None: the tenant's."})
    deliver = one_of(
        ("us", "sender"),
        load_default="us",
        metadata={"description": "Who sends the question: we, or you, with the text we give."},
    )
    door = doored()
    evidence = fields.Dict(keys=Text(40), values=Text(4000), validate=validate.Length(max=20))
    person = Text(
        255, metadata={"description": "Your own id for whoever this is, linked by their yes."}
    )


class HistoryAsk(Addressed):
    beyond = fields.Integer(strict=True, load_default=0, validate=validate.Range(0, 2**53))
    limit = fields.Integer(strict=True, load_default=100, validate=validate.Range(1, 1000))


class LinkAsk(Addressed):
    topic = slugged(metadata={"description": "What the link leaves. Or a brand, or neither: all."})
    brand = slugged()
    campaign = fields.String(validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,32}\Z"))
    language = spoken(
        metadata={
            "description": "Which one the person reads. It is kept, unless they chose one.",
            "examples": ["de"],
        },
    )


class LinksAsk(Schema):
    items = fields.List(
        fields.Nested(LinkAsk), required=True, validate=validate.Length(1, MOST_ITEMS)
    )
    remember = YesNo(
        load_default=True,
        metadata={"description": "Keep the addresses, so that an export can name them."},
    )
    short = YesNo(
        load_default=False,
        metadata={"description": "A short link for each too, as texts need. It has to be kept."},
    )

    @validates_schema
    def kept(self, data: dict[str, Any], **kwargs: Any) -> None:
        if data.get("short") and data.get("remember") is False:
            raise ValidationError(
                "A short link is a row that knows whose it is; leave remember out, or short.",
                "short",
            )


class DevicePress(Schema):
    """What a switch in an app says."""

    topic = slugged()
    all = YesNo(validate=validate.Equal(True))
    on = YesNo(required=True)
    saw = fields.Integer(
        strict=True,
        validate=validate.Range(0, 2**53),
        metadata={"description": "The seq that the switch was shown with."},
    )
    wording = Text(4000, metadata={"description": "What the switch said."})

    @validates_schema
    def whole(self, data: dict[str, Any], **kwargs: Any) -> None:
        needs: dict[str, list[str]] = {}
        if ("topic" in data) == ("all" in data):
            needs["topic"] = ["Name a topic, or all; and not both."]
        elif data.get("on") and "all" in data:
            needs["on"] = ["Topics are turned on one by one; all can only be turned off."]
        elif data.get("on") and "saw" not in data:
            needs["saw"] = ["Send the seq that the switch was shown with, from the GET."]
        if needs:
            raise ValidationError(needs)


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


class ByLanguage(fields.Dict):
    """What is wrong is named as it was sent: ``texts.de.name``, not ``texts.de.value.name``."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            wrong = error.messages
            if isinstance(wrong, dict):
                wrong = {code: said.get("value", said) for code, said in wrong.items()}
            raise ValidationError(wrong) from None


def texts(schema: type[Schema]) -> ByLanguage:
    return ByLanguage(
        keys=fields.String(),
        values=fields.Nested(schema),
        validate=validate.Length(max=MOST_LANGUAGES),
        metadata={
            "description": "The same in other languages, each by its code, such as de, pt-BR or "
            "zh-Hans. A change is of those named; an empty text takes it away.",
            "examples": [{"de": dict.fromkeys(schema().fields, "…")}],
        },
    )


def at_most() -> fields.List[Any]:
    return fields.List(
        fields.Integer(strict=True, validate=validate.Range(1, MOST_PER_WEEK)),
        validate=validate.Length(max=MOST_CHOICES),
        metadata={
            "description": "How many messages a week people may choose between, on a marketing "
            "topic; empty: no such choice.",
            "uniqueItems": True,
            "examples": [[1, 2, 4]],
        },
    )


class TopicTexts(Schema):
    title = Text(120, least=0)
    description = Text(1000, least=0)


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
    at_most = at_most()
    texts = texts(TopicTexts)


class TopicChange(Schema):
    title = Text(120)
    description = Text(1000, least=0)
    channels = fields.Dict(
        keys=one_of(Channel),
        values=one_of([*Mode, "off"], allow_none=True),
        validate=validate.Length(min=1),
        metadata={"description": "Those named are changed; `off` no longer offers it there."},
    )
    at_most = at_most()
    texts = texts(TopicTexts)


class LookIn(Schema):
    """What is left out stays as it is."""

    accent = fields.String(
        metadata={
            "description": "Of buttons and links: #rrggbb, with a contrast of 4.5 with white.",
            "examples": ["#1d3f8f"],
        }
    )
    paper = fields.String(
        metadata={
            "description": "Behind the white card; dark text and grey text stand on it.",
            "examples": ["#f3f2ee"],
        }
    )
    logo = fields.String(
        metadata={
            "description": "A data: URI of a PNG, JPEG, WebP or SVG, in base64, of at most 6,000 "
            "bytes; empty: none.",
            "examples": ["data:image/png;base64,…"],
        }
    )


class BrandTexts(Schema):
    name = Text(120, least=0)
    about = Text(1000, least=0)


class BrandChange(Schema):
    name = Text(120)
    contact = Text(200, metadata={"description": "What a HELP by text is answered with."})
    postal_address = Text(
        500, least=0, metadata={"description": "Where the brand is, for the foot of its mails."}
    )
    mail_from = Text(
        320,
        least=0,
        metadata={
            "description": "Whom its confirmations come from.",
            "examples": ["Acme <news@acme.example>"],
        },
    )
    look = fields.Nested(LookIn)
    texts = texts(BrandTexts)


class BrandIn(BrandChange):
    slug = slugged(required=True)
    name = Text(120, required=True)
    contact = Text(
        200, required=True, metadata={"description": "What a HELP by text is answered with."}
    )


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
    language = one_of(
        languages.ALL, metadata={"description": "Of its pages, for whoever has shown no other."}
    )


class BurstsAsk(Schema):
    since = instant(metadata={"description": "None: the last seven days."})
    until = instant()

    @validates_schema
    def in_order(self, data: dict[str, Any], **kwargs: Any) -> None:
        if "since" in data and "until" in data and data["until"] <= data["since"]:
            raise ValidationError("This lies after since.", "until")


class BurstUndo(Schema):
    reason = Text(
        500, required=True, metadata={"description": "Why this was a machine; kept as evidence."}
    )


# --- out ---


class Out(Schema):
    """What goes out is built by hand; these say what it looks like."""


class ScopeOut(Out):
    topic = fields.String()
    brand = fields.String()
    all = fields.Boolean()
    gone = one_of(
        ("topic", "brand"),
        metadata={"description": "It was about this one alone, which there is no more."},
    )


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


class ConfirmationOut(Out):
    outcome = one_of(("asked", "not_asked"), required=True)
    reason = one_of(("too_many", "not_for_them"))
    link = fields.URL(relative=False, require_tld=False)
    subject = fields.String(metadata={"description": "Empty for a text."})
    text = fields.String()
    expires_at = instant()


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
    retracts = fields.List(fields.Integer())
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
    short = fields.URL(
        relative=False,
        require_tld=False,
        metadata={"description": "Leaves as `unsubscribe` does; only where it was asked for."},
    )
    device = fields.URL(
        relative=False,
        require_tld=False,
        metadata={"description": "Of a push token: where the app reads and sets its switches."},
    )
    headers = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class LinksOut(Out):
    items = fields.List(fields.Nested(LinkOut), required=True)


class CodeOut(Out):
    code = fields.String(required=True, metadata={"examples": ["K7QF-4MXC-9T"]})
    expires_at = instant(required=True)
    url = fields.URL(
        required=True,
        relative=False,
        require_tld=False,
        metadata={"description": "Where the person enters it."},
    )


class TopicOut(Out):
    slug = fields.String(required=True)
    brand = fields.String(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    purpose = one_of(Purpose, required=True)
    channels = fields.Dict(keys=fields.String(), values=one_of(Mode), required=True)
    at_most = fields.List(fields.Integer(), required=True)
    texts = fields.Dict(keys=fields.String(), values=fields.Nested(TopicTexts), required=True)


class TopicsOut(Out):
    topics = fields.List(fields.Nested(TopicOut), required=True)


class LookOut(Out):
    accent = fields.String(required=True)
    paper = fields.String(required=True)
    logo = fields.String(required=True)


class BrandOut(Out):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    contact = fields.String(required=True)
    postal_address = fields.String(required=True)
    mail_from = fields.String(required=True)
    look = fields.Nested(LookOut, required=True)
    texts = fields.Dict(keys=fields.String(), values=fields.Nested(BrandTexts), required=True)


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
    language = fields.String(required=True)


class FlaggedOut(Out):
    seq = fields.Integer(required=True)
    scope = fields.Nested(ScopeOut, required=True)
    heard_at = instant(required=True)
    door = fields.String(required=True)
    repeated = fields.Boolean(
        required=True, metadata={"description": "A person has said as much again since."}
    )
    undone = fields.Boolean(required=True)


class MemberOut(Out):
    channel = one_of(Channel, required=True)
    address = fields.String(
        required=True, allow_none=True, metadata={"description": "Masked; null if not known."}
    )
    outs = fields.List(fields.Nested(FlaggedOut), required=True)


class BurstOut(Out):
    id = fields.String(required=True)
    why = fields.String(required=True)
    started_at = instant(required=True)
    ended_at = instant(required=True)
    count = fields.Integer(required=True, metadata={"description": "How many addresses."})
    doors = fields.List(fields.String(), required=True)
    campaigns = fields.List(fields.String(), required=True)
    user_agents = fields.List(fields.String(), required=True)
    members = fields.List(fields.Nested(MemberOut), required=True)


class BurstsOut(Out):
    bursts = fields.List(fields.Nested(BurstOut), required=True)
    next_since = instant(
        required=True,
        allow_none=True,
        metadata={"description": "Where to go on looking; null if all was looked at."},
    )


class TurnOut(Out):
    allowed_before = fields.Boolean(required=True)
    allowed = fields.Boolean(required=True)
    reason = one_of(REASONS, required=True)


class TouchedOut(Out):
    channel = one_of(Channel, required=True)
    address = fields.String(required=True, allow_none=True)
    became = one_of(Became, required=True)
    retracted = fields.List(fields.Integer(), required=True)
    topics = fields.Dict(keys=fields.String(), values=fields.Nested(TurnOut), required=True)


class UndoneOut(Out):
    burst = fields.String(required=True)
    why = fields.String(required=True)
    undone = fields.Integer(required=True)
    repeated = fields.Integer(required=True, metadata={"description": "These stay out."})
    undone_before = fields.Integer(required=True)
    left = fields.Integer(
        required=True, metadata={"description": "Still to be undone: send the request again."}
    )
    members = fields.List(fields.Nested(TouchedOut), required=True)


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
