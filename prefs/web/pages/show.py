"""How a page is shown: in whose language, in whose colours, under which headers."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, cast

from flask import Flask, Response, g, render_template, request
from markupsafe import Markup

from prefs import languages, look
from prefs.address import Channel
from prefs.directory import Brand, Tenant, described, titled
from prefs.languages import Language
from prefs.look import Look
from prefs.policy import Topic
from prefs.web import door

PROPER: Mapping[Channel, str] = {Channel.WHATSAPP: "WhatsApp", Channel.RCS: "RCS"}
"""Channels that have a name, which is the same in every language."""


def speak(app: Flask) -> None:
    """Gives the templates their language, that of the request."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        lambda sentence: language().catalogue.gettext(sentence),
        lambda one, many, number: language().catalogue.ngettext(one, many, number),
        newstyle=True,
    )
    app.jinja_env.filters["day"] = lambda moment: language().day(moment)
    app.jinja_env.globals["proper"] = PROPER
    app.jinja_env.filters["number"] = lambda number: language().number(number)


# --- the language ---


def language() -> Language:
    """That of the page's own switch, or the person's, or the browser's, or the tenant's."""
    if "language" not in g:
        use_language(None, None)
    return cast(Language, g.language)


def use_language(stored: str | None, tenant: Tenant | None) -> None:
    g.language = (
        chosen()
        or languages.known(stored)
        # What has the quality 0 is "not acceptable" (RFC 9110 section 12.4.2).
        or languages.best([code for code, quality in request.accept_languages if quality])
        or languages.of(tenant.language if tenant else None)
    )


def chosen() -> Language | None:
    """What somebody picked from the page's own list: also what is remembered of them."""
    return languages.known(request.args.get("lang"))


def here(path: str | None = None) -> str:
    """Where this page's forms go: to the page itself, in the language that was picked."""
    path = request.path if path is None else path
    picked = chosen()
    query = f"?lang={picked.code}" if picked else ""
    return f"{request.script_root}{path}{query}"


def _kept() -> Markup:
    """What else a page's address says, in front of its language."""
    channel = request.args.get("channel")
    return Markup(f"channel={channel}&amp;") if channel in set(Channel) else Markup("")


def say(sentence: str, **names: object) -> str:
    return language().say(sentence, **names)


# --- the page ---


def page(
    template: str, tenant: Tenant | None = None, brand: Brand | None = None, **parts: Any
) -> Response:
    """The page, as the brand looks and speaks, or the only brand there is."""
    if brand is None and tenant is not None and len(tenant.brands) == 1:
        (brand,) = tenant.brands.values()
    style = _style(brand.look) if brand else ""
    code = language().code
    html = render_template(
        template,
        language=language(),
        languages=languages.ALL.values(),
        kept=_kept(),
        style=Markup(style),
        logo=brand.look.logo if brand else "",
        brand=brand.named(code) if brand else tenant.name if tenant else None,
        about=brand.about(code) if brand else "",
        postal_address=brand.postal_address if brand else "",
        contact=brand.contact if brand else "",
        action=here(),
        **parts,
    )
    response = Response(html)
    if style or brand:
        response.headers["Content-Security-Policy"] = _csp(style)
    response.headers["Content-Language"] = code
    return response


_BY_DAY = {
    "page": "paper",
    "first": "accent",
    "first-over": "accent_over",
    "on-first": "on_accent",
    "link": "accent",
    "link-on-page": "accent_on_paper",
}
_BY_NIGHT = {
    "page": "paper_dark",
    "first": "accent_dark",
    "first-over": "accent_dark_over",
    "on-first": "on_accent_dark",
    "link": "accent_dark",
    "link-on-page": "accent_dark",
}
"""The names of the stylesheet, and the shades of a look that stand for them."""


def _style(of: Look) -> str:
    shades = look.shades(of)
    day, night = (
        ";".join(f"--{name}:{shades[shade]}" for name, shade in names.items())
        for names in (_BY_DAY, _BY_NIGHT)
    )
    return f"@media screen{{:root{{{day}}}@media(prefers-color-scheme:dark){{:root{{{night}}}}}}}"


def _csp(style: str) -> str:
    """The page's own colours are let in by their hash, and the logo within the page."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return door.CSP.replace("style-src 'self'", f"style-src 'self' 'sha256-{digest}'").replace(
        "img-src 'self'", "img-src 'self' data:"
    )


def title(topic: Topic) -> str:
    """What the topic is called in the page's language, as far as its sender says."""
    return titled(topic, language().code)


def description(topic: Topic) -> str:
    return described(topic, language().code)


def wording(sentence: str, topic: Topic) -> Mapping[str, str]:
    """What somebody had in front of them when they said it, as it is kept."""
    return {
        "wording": sentence,
        "wording language": language().code,
        "wording title": title(topic),
        "wording description": description(topic),
    }
