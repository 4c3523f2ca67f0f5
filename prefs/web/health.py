"""Whether this process lives, and whether it can keep what it is told."""

from flask import Blueprint, Response
from sqlalchemy import select

from prefs import tables
from prefs.web import door

health = Blueprint("health", __name__)


@health.get("/healthz")
def alive() -> Response:
    return door.answer({"status": "alive"})


@health.get("/readyz")
def ready() -> Response:
    with door.reading() as connection:
        connection.execute(select(tables.installation.c.revision)).first()
    return door.answer({"status": "ready"})
