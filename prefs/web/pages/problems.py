"""What a page says when a link, the store or the request is at fault, and what to do then.

A program that asks for JSON is told the same in the JSON of RFC 9457.
"""

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException

from prefs import letters
from prefs.database import Unavailable
from prefs.directory import Tenant
from prefs.links import BadLink
from prefs.web import door
from prefs.web.pages import show
from prefs.web.pages.visit import by_script

FOR_PEOPLE = frozenset({"u", "l", "p", "c", "s", "lost", "code"})
"""How the paths of pages begin, of which one may have been cut off."""


def tell(pages: Blueprint) -> None:
    """Gives a blueprint of pages its error pages."""
    pages.register_error_handler(BadLink, _bad_link)
    pages.register_error_handler(Unavailable, _unavailable)
    pages.register_error_handler(door.Problem, door.Problem.response)
    pages.register_error_handler(HTTPException, _refused)
    pages.register_error_handler(Exception, _unexpected)


def nowhere(error: HTTPException) -> Response:
    """What leads to no route: of a link that was cut off, the page that says so."""
    if request.path.split("/")[1] not in FOR_PEOPLE or error.response is not None:
        return door.http_problem(error)
    return _bad_link(BadLink()) if error.code == 404 else _refused(error)


def _bad_link(error: BadLink) -> Response:
    tenant = _likely_tenant()
    if "language" not in g:
        show.use_language(None, tenant)
    return _problem(
        404,
        show.say("This link does not work"),
        show.say("Please check that the whole link was copied, or open a newer message."),
        tenant,
    )


def _likely_tenant() -> Tenant | None:
    """Whose link this may have been, from the part that nobody has signed.

    Good enough to say where somebody may ask to be left alone, and for nothing else.
    """
    directory = door.installation().directory.latest
    _, kind, rest = f"{request.path}/".split("/", 2)
    if kind in ("s", "lost"):
        return directory.tenant(rest.partition("/")[0])
    says = door.installation().links.says_tenant(rest.strip("/<(\"'"))
    return directory.tenants.get(says or 0)


def _unavailable(error: Unavailable) -> Response:
    response = _problem(
        503,
        show.say("Please try again"),
        show.say("We cannot read or store what you want at this moment. Nothing has changed yet."),
    )
    response.headers["Retry-After"] = "5"
    return response


def _refused(error: HTTPException) -> Response:
    if by_script():
        return door.http_problem(error)
    return _problem(
        error.code or 500,
        show.say("This did not work"),
        show.say("Please open the link from the message again."),
    )


def _unexpected(error: Exception) -> Response:
    door.log(error)
    return _problem(
        500,
        show.say("This is our mistake"),
        show.say("Nothing has changed. Please try again later."),
    )


def sends_links(tenant: Tenant) -> bool:
    """Whether anybody here can be sent a link."""
    settings = door.installation().settings
    return any(letters.writer(settings, tenant, c) for c in letters.GO_BY)


def _problem(status: int, heading: str, advice: str, tenant: Tenant | None = None) -> Response:
    if by_script():
        return door.Problem(status, advice).response()
    brands = tenant.brands.values() if tenant else ()
    response = show.page(
        "problem.html",
        tenant,
        heading=heading,
        advice=advice,
        ask=show.here(f"/lost/{tenant.slug}") if tenant and sends_links(tenant) else None,
        code=show.here("/code") if status == 404 else None,
        contacts=dict.fromkeys(brand.contact for brand in brands if brand.contact),
    )
    response.status_code = status
    return response
