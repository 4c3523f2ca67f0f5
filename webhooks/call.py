"""A provider's request, as all of them are verified."""

from dataclasses import dataclass

from werkzeug.datastructures import Headers, MultiDict


class Forged(Exception):
    """Not signed with a token of an account that sends for the tenant."""


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook request as its sender signed it."""

    url: str
    headers: Headers
    form: "MultiDict[str, str]"
    body: bytes = b""
