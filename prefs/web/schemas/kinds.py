"""The kinds of fields, strict where two readers could differ."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import ValidationError, fields, validate

from prefs import languages

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
