"""The person's side: looks and languages, limits, short links, one-time codes, letters."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # First: while it is built only events wait, and no check.
    through_links = "kind = 'out' AND door IN ('one-click', 'unsubscribe link', 'preference page')"
    op.create_index(
        "event_links",
        "event",
        ["tenant_id", "heard_at", "position"],
        unique=False,
        sqlite_where=sa.text(through_links),
        postgresql_where=sa.text(through_links),
    )

    for table, name, default in (
        ("brand", "postal_address", ""),
        ("brand", "mail_from", ""),
        ("brand", "look", "{}"),
        ("brand", "texts", "{}"),
        ("topic", "at_most", "[]"),
        ("topic", "texts", "{}"),
    ):
        op.add_column(table, sa.Column(name, sa.Text(), nullable=False, server_default=default))
    op.add_column(
        "tenant", sa.Column("language", sa.String(length=16), nullable=False, server_default="en")
    )
    op.add_column("address", sa.Column("language", sa.String(length=16), nullable=True))
    op.add_column("event", sa.Column("per_week", sa.Integer(), nullable=True))

    op.create_table(
        "short_link",
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=True),
        sa.Column("topic_id", sa.BigInteger(), nullable=True),
        sa.Column("campaign", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("code"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "one_time_code",
        sa.Column("hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "letter",
        sa.Column("id", Id, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("brand_id", sa.BigInteger(), nullable=False),
        sa.Column("topic_id", sa.BigInteger(), nullable=True),
        sa.Column("language", sa.String(length=16), nullable=False),
        sa.Column("saw", sa.BigInteger(), nullable=False),
        sa.Column("network", sa.LargeBinary(length=16), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("letter_due", "letter", ["due_at"], unique=False)
    op.create_index("letter_address", "letter", ["tenant_id", "digest", "asked_at"], unique=False)
    op.create_index("letter_network", "letter", ["tenant_id", "network", "asked_at"], unique=False)
