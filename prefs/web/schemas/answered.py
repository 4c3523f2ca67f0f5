"""What goes out. It is built by hand; these say what it looks like."""

from marshmallow import Schema, fields

from prefs.address import Channel
from prefs.bursts import Became
from prefs.directory import WORDS_SAY
from prefs.keywords import Says
from prefs.policy import REASONS, Block, Kind, Mode, Outcome, Purpose, Verdict, Voice
from prefs.web.schemas.asked import BrandTexts, SenderIn, TopicTexts
from prefs.web.schemas.kinds import instant, one_of


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
    to_transactional = fields.Boolean()
    ours_alone = fields.Boolean()


class StandingOut(Out):
    seq = fields.Integer(required=True)
    outs = fields.List(fields.Nested(WordOut), required=True)
    consents = fields.List(fields.Nested(WordOut), required=True)
    snoozes = fields.List(fields.Nested(WordOut), required=True)
    blocks = fields.List(fields.Nested(WordOut), required=True)
    limits = fields.List(fields.Nested(WordOut), required=True)
    reviews = fields.List(
        fields.Nested(WordOut),
        required=True,
        metadata={"description": "Texts that may be a no and wait for somebody to decide."},
    )


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
    rule = fields.String(
        metadata={"description": "Of a text: the rule that read it, and the rules' version."}
    )
    to_transactional = fields.Boolean(
        metadata={"description": "Only where so: the STOP answered a transactional message."}
    )
    ours_alone = fields.Boolean(
        metadata={
            "description": "Only where so: neither provider nor carrier took it for a STOP, so "
            "they block nothing."
        }
    )
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
    topic = fields.String(required=True, allow_none=True)


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
    words = fields.Dict(keys=fields.String(), values=one_of(WORDS_SAY), required=True)


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


class TextRead(Out):
    says = one_of(Says, required=True)
    rule = fields.String(
        required=True, allow_none=True, metadata={"description": "Null if no rule was met."}
    )
    language = fields.String(
        required=True, allow_none=True, metadata={"description": "Of the rule."}
    )
    source = fields.String(
        required=True, allow_none=True, metadata={"description": "What the rule rests on."}
    )
    version = fields.String(required=True, metadata={"description": "Of all the rules."})
    everything = fields.Boolean(
        required=True, metadata={"description": "Whether it names all programmes."}
    )


class ReviewOut(Out):
    id = fields.String(required=True)
    channel = one_of(Channel, required=True)
    address = fields.String(
        required=True, allow_none=True, metadata={"description": "Masked; null if erased."}
    )
    to = fields.String(
        required=True, allow_none=True, metadata={"description": "The sender that was texted."}
    )
    text = fields.String(
        required=True, allow_none=True, metadata={"description": "Null if erased."}
    )
    rule = fields.String(required=True)
    scope = fields.Nested(
        ScopeOut, required=True, metadata={"description": "What is held, and what a no leaves."}
    )
    heard_at = instant(required=True)
    due = fields.Date(
        required=True, metadata={"description": "The last day in time: the tenth business day."}
    )
    days_left = fields.Integer(
        required=True, metadata={"description": "Negative: it is overdue by so many."}
    )


class ReviewsOut(Out):
    reviews = fields.List(fields.Nested(ReviewOut), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Null: this was the last page."}
    )


class ReviewedOut(Out):
    id = fields.String(required=True)
    decision = one_of(("no", "not_a_no"), required=True)
    outcome = one_of(Outcome, required=True)
    seq = fields.Integer(required=True)


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
