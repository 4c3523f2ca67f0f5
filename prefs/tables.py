"""The tables, nothing else. `prefs/migrations` creates them; a test holds the two equal."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    FetchedValue,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

# SQLite numbers rows by itself only for a column of the type INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True),
    # Raised by every change to a tenant, topic, sender or key: workers read it to know.
    Column("revision", BigInteger, nullable=False),
    Column("digest_sample", LargeBinary, nullable=False),
)

tenant = Table(
    "tenant",
    metadata,
    Column("id", Id, primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    # Whether a confirmed double opt-in may end the person's own spam complaint.
    Column("confirming_ends_complaint", Boolean, nullable=False, server_default=false()),
    # Of its pages, for whoever has shown no other.
    Column("language", String(16), nullable=False, server_default="en"),
    # {"parar ya": "out"}: its own words, in normal form, and what they say in a text.
    Column("words", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False),
)


def _tenant() -> "Column[int]":
    return Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False)


brand = Table(
    "brand",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("slug", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("postal_address", Text, nullable=False, server_default=""),
    # The From of the confirmations that we send for it.
    Column("mail_from", Text, nullable=False, server_default=""),
    # {"accent": "#1d3f8f", "paper": "#f3f2ee", "logo": "data:image/png;base64,…"}
    Column("look", Text, nullable=False, server_default="{}"),
    # {"de": {"name": "…", "about": "…"}}: what it says of itself, by language.
    Column("texts", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "slug"),
    # What a topic and a sender refer to: a brand of their own tenant, the database sees to it.
    UniqueConstraint("tenant_id", "id"),
)


def _own_brand() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id", "brand_id"], ["brand.tenant_id", "brand.id"])


topic = Table(
    "topic",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("brand_id", Id, nullable=False),
    Column("slug", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("purpose", String(16), nullable=False),
    # {"email": "opt_out", "sms": "opt_in"}: the consent model per channel it goes out on.
    Column("offered", Text, nullable=False),
    # [1, 2]: how many a week people may choose.
    Column("at_most", Text, nullable=False, server_default="[]"),
    # {"de": {"title": "…", "description": "…"}}
    Column("texts", Text, nullable=False, server_default="{}"),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "slug"),
    _own_brand(),
)

sender = Table(
    "sender",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("brand_id", Id, nullable=False),
    Column("provider", String(32), nullable=False),
    Column("account", String(64), nullable=False),
    Column("identity", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    # What it sends: marketing, transactional or both.
    Column("purpose", String(16), nullable=False, server_default="both"),
    # What a STOP to it leaves: all, its brand, or its topic.
    Column("leaves", String(16), nullable=False, server_default="all"),
    Column("topic_id", Id),
    # Whether its confirmation of a STOP offers to keep some programmes.
    Column("clarifies", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    # It sends no more, and what people answer it is heard as ever.
    Column("removed_at", BigInteger),
    UniqueConstraint("tenant_id", "provider", "account", "identity"),
    _own_brand(),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(32), primary_key=True),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # A rotated key goes on until here, a revoked one until it was revoked.
    Column("ends_at", BigInteger),
)

address = Table(
    "address",
    metadata,
    Column("digest", LargeBinary(16), primary_key=True),
    _tenant(),
    Column("channel", String(16), nullable=False),
    Column("value", Text),
    Column("person", Text),
    # Two persons claimed it: it shows neither the other's addresses.
    Column("shared", Boolean, nullable=False, server_default=false()),
    # The language that the person chose, or that the sender knows.
    Column("language", String(16)),
    Column("erased_at", BigInteger),
    # Of a push token: the one that took its place, and hears what is said to it.
    Column("replaced_by", LargeBinary(16)),
    Column("seq", BigInteger, nullable=False),
    Column("standing", Text, nullable=False),
    # Whether its standing has a text that waits for somebody to decide.
    Column("in_review", Boolean, nullable=False, server_default=false()),
    # The roll of one channel is read in this order, page by page.
    Index("address_roll", "tenant_id", "channel", "digest"),
    Index("address_person", "tenant_id", "person"),
    Index(
        "address_in_review",
        "tenant_id",
        "digest",
        sqlite_where=text("in_review"),
        postgresql_where=text("in_review"),
    ),
    # A check is one descent of one tree, not an index and then a row.
    sqlite_with_rowid=False,
)

THROUGH_LINKS = "kind = 'out' AND door IN ('one-click', 'unsubscribe link', 'preference page')"

event = Table(
    "event",
    metadata,
    Column("position", Id, primary_key=True),
    _tenant(),
    # The number of the transaction, by which PostgreSQL's commits are read in order (0 on SQLite).
    # The database fills it in.
    Column("xact", BigInteger, FetchedValue(), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("brand_id", BigInteger),
    Column("topic_id", BigInteger),
    Column("voice", String(16)),
    Column("authority", String(32), nullable=False),
    Column("heard_at", BigInteger, nullable=False),
    Column("said_at", BigInteger),
    Column("clock", String(32), nullable=False),
    Column("saw", BigInteger),
    Column("until", BigInteger),
    Column("basis", String(32), nullable=False),
    Column("block", String(32)),
    Column("per_week", Integer),
    Column("door", String(32), nullable=False),
    # What a text was read by, and its version: "en/keyword 4-1f3a9c2e".
    Column("rule", String(80), nullable=False, server_default=""),
    Column("to_transactional", Boolean, nullable=False, server_default=false()),
    Column("ours_alone", Boolean, nullable=False, server_default=false()),
    Column("retracts", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("source", String(64)),
    Column("source_id", String(200)),
    Column("batch_id", BigInteger),
    Column("evidence_digest", LargeBinary(16)),
    UniqueConstraint("tenant_id", "digest", "seq", name="event_seq"),
    UniqueConstraint("tenant_id", "source", "source_id", name="event_source"),
    Index("event_changes", "tenant_id", "xact", "position"),
    # What `bursts` reads, and what its DOORS must be the same as.
    Index(
        "event_links",
        "tenant_id",
        "heard_at",
        "position",
        sqlite_where=text(THROUGH_LINKS),
        postgresql_where=text(THROUGH_LINKS),
    ),
    sqlite_autoincrement=True,
)

evidence = Table(
    "evidence",
    metadata,
    Column("digest", LargeBinary(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    _tenant(),
    Column("salt", LargeBinary(16), nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

short_link = Table(
    "short_link",
    metadata,
    Column("code", String(16), primary_key=True),
    _tenant(),
    Column("channel", String(16), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    Column("brand_id", BigInteger),
    Column("topic_id", BigInteger),
    Column("campaign", String(32), nullable=False),
    sqlite_with_rowid=False,
)

one_time_code = Table(
    "one_time_code",
    metadata,
    Column("hash", LargeBinary(16), primary_key=True),
    _tenant(),
    Column("channel", String(16), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

letter = Table(
    "letter",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("channel", String(16), nullable=False),
    Column("digest", LargeBinary(16), nullable=False),
    # Where it goes. Kept for nothing else: gone once it was answered, or can be no longer.
    Column("value", Text),
    Column("kind", String(16), nullable=False),
    Column("brand_id", BigInteger, nullable=False),
    Column("topic_id", BigInteger),
    Column("language", String(16), nullable=False),
    # The seq of the event that asks.
    Column("saw", BigInteger, nullable=False),
    # Whose network asked, as a keyed digest: so many an hour, whoever they ask for.
    Column("network", LargeBinary(16)),
    Column("asked_at", BigInteger, nullable=False),
    # When to try next; null once there is nothing more to try.
    Column("due_at", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent_at", BigInteger),
    Column("answered_at", BigInteger),
    # Of a reply: its words, and the sender that the person had texted.
    Column("text", Text),
    Column("sender_id", BigInteger),
    Index("letter_due", "due_at"),
    Index("letter_address", "tenant_id", "digest", "asked_at"),
    Index("letter_network", "tenant_id", "network", "asked_at"),
)

progress = Table(
    "progress",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenant.id"), primary_key=True),
    # What is read little by little: "twilio messages AC…".
    Column("name", String(120), primary_key=True),
    # Up to where everything has been read.
    Column("place", String(120), nullable=False),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Id, primary_key=True),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("file_digest", String(64), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("counts", Text, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenant.id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_digest", LargeBinary(16), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("heard_at", BigInteger, nullable=False),
    Index("idempotency_age", "tenant_id", "heard_at"),
)
