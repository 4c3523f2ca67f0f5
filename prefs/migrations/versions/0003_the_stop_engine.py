"""The STOP engine: texts with the rule they were read by, reviews, senders with a purpose."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table, name, type_, default in (
        ("tenant", "words", sa.Text(), "{}"),
        ("sender", "purpose", sa.String(length=16), "both"),
        ("sender", "leaves", sa.String(length=16), "all"),
        ("sender", "clarifies", sa.Boolean(), sa.false()),
        ("address", "in_review", sa.Boolean(), sa.false()),
        ("event", "rule", sa.String(length=80), ""),
        ("event", "to_transactional", sa.Boolean(), sa.false()),
        ("event", "ours_alone", sa.Boolean(), sa.false()),
    ):
        op.add_column(table, sa.Column(name, type_, nullable=False, server_default=default))
    op.add_column("sender", sa.Column("topic_id", Id, nullable=True))
    op.add_column("sender", sa.Column("removed_at", sa.BigInteger(), nullable=True))
    op.add_column("letter", sa.Column("text", sa.Text(), nullable=True))
    op.add_column("letter", sa.Column("sender_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "address_in_review",
        "address",
        ["tenant_id", "digest"],
        unique=False,
        sqlite_where=sa.text("in_review"),
        postgresql_where=sa.text("in_review"),
    )
    op.create_table(
        "progress",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("place", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
