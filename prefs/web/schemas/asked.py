"""What comes in, field by field."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from prefs import keywords, languages, letters
from prefs.address import Channel
from prefs.directory import (
    KINDS,
    LEAVES,
    MOST_CHOICES,
    MOST_LANGUAGES,
    MOST_PER_WEEK,
    MOST_WORDS,
    PROVIDERS,
    PURPOSES,
    SCOPES,
    WORDS_SAY,
)
from prefs.policy import Mode, Purpose
from prefs.web.schemas.kinds import Text, YesNo, doored, instant, one_of, slugged, spoken

MOST_ITEMS = 10_000
WORDS = ("out", "in", "lift", "snooze", "limit")
SPEAKERS = ("person", "sender", "complaint")
BASES = ("express", "soft_opt_in", "implied_purchase", "implied_inquiry", "legitimate_interest")


class Addressed(Schema):
    channel = one_of(Channel, required=True)
    address = fields.String(
        required=True,
        metadata={
            "description": "An email; for sms, whatsapp and rcs a phone number in E.164 or with "
            "its region; provider:token for push.",
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
        letters.GO_BY,
        required=True,
        metadata={"description": "On push, WhatsApp and RCS you ask yourself."},
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


class Named(fields.Dict):
    """What is wrong is named as it was sent: ``texts.de.name``, not ``texts.de.value.name``."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            wrong = error.messages
            if isinstance(wrong, dict):
                wrong = {code: said.get("value", said) for code, said in wrong.items()}
            raise ValidationError(wrong) from None


def texts(schema: type[Schema]) -> Named:
    return Named(
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


def reply() -> Text:
    return Text(
        320,
        least=0,
        metadata={
            "description": "The brand's own answer to a text. {brand}, {contact} and {topics} are "
            "put in; it has to fit into one text.",
            "examples": ["{brand}: no more texts. START undoes this."],
        },
    )


class BrandTexts(Schema):
    name = Text(120, least=0)
    about = Text(1000, least=0)
    stop_reply = reply()
    start_reply = reply()
    help_reply = reply()


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


class SenderChange(Schema):
    """What is left out stays as it is."""

    purpose = one_of(PURPOSES, metadata={"description": "What it sends; none: both."})
    leaves = one_of(
        LEAVES,
        metadata={
            "description": "What a STOP to it leaves; none: all marketing. To a transactional "
            "sender it is always all."
        },
    )
    topic = slugged(metadata={"description": "Which one, where a STOP leaves a topic."})
    clarifies = YesNo(
        metadata={"description": "Whether the answer to a STOP offers to keep some topics."}
    )


class SenderIn(SenderChange):
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
    words = Named(
        keys=Text(120),
        values=one_of(WORDS_SAY, allow_none=True),
        validate=validate.Length(max=MOST_WORDS),
        metadata={
            "description": "Words of its own in a text, as the whole message, and what each says. "
            "Those named are set; null takes one away.",
            "examples": [{"parar ya": "out"}],
        },
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


class TextTry(Schema):
    text = Text(
        keywords.LONGEST,
        required=True,
        metadata={"description": "As somebody would text it.", "examples": ["please stop it"]},
    )


class ReviewsAsk(Schema):
    limit = fields.Integer(
        load_default=100,
        validate=validate.Range(1, 1000),
        metadata={"description": "How many addresses' texts are in a page."},
    )
    cursor = fields.String(
        validate=validate.Regexp(r"^[0-9a-f]{32}\Z", error="This is no cursor of ours.")
    )


class ReviewDecision(Schema):
    decision = one_of(
        ("no", "not_a_no"),
        required=True,
        metadata={"description": "Whether the text means that its author wants no more."},
    )
    reason = Text(500, metadata={"description": "Why; kept as evidence."})
