"""A one-click link is asked as a mailbox provider asks it, and each fault is named."""

import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import CliRunner, Result

from prefs import ledger
from prefs.address import Address, Channel
from prefs.cli import main
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import Action, Claim, Minted
from prefs.mail.conformance import FIELD, PARTS, BadUrl, Line, Verdict, changed, conformance, parsed
from prefs.policy import Authority, Kind, Voice
from prefs.policy import Event as Word
from prefs.settings import Settings
from tests.conftest import Served

MAIL = Path(__file__).parent / "mail"
GRACE = Address(Channel.EMAIL, "grace@example.org")
TOKEN = "aGVsbG8tdGhpcy1pcy1hLXRva2Vu"


# --- a service that is right until a fault is switched on ---


class Service(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str = "", on: Callable[[str], None] = lambda method: None) -> None:
        super().__init__(("127.0.0.1", 0), Doing)
        self.fault = fault
        self.on = on
        self.posts = 0
        self.over = Event()
        self.token = TOKEN
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/u/{self.token}"

    def stop(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Doing(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, format: str, *words: object) -> None:
        pass

    def answer(self, status: int, text: str = "", **headers: str) -> None:
        body = text.encode()
        headers = {"Content_Type": "text/html", **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def is_whole(self) -> bool:
        return self.path == f"/u/{self.server.token}"

    def do_GET(self) -> None:
        fault = self.server.fault
        self.server.on(self.command)
        if fault == "GET redirects to login":
            self.answer(302, Location="/login?next=/u")
        elif fault == "GET asks for a password":
            self.answer(200, '<form method="post"><input name=p type="password"></form>')
        elif fault == "GET needs authorization":
            self.answer(401, WWW_Authenticate="Basic")
        elif fault == "GET is text":
            self.answer(200, "Are you sure?", Content_Type="text/plain")
        elif fault == "GET is gone":
            self.answer(410)
        elif fault == "no form":
            self.answer(200, "<p>You are unsubscribed.</p>")
        elif fault == "HEAD fails" and self.command == "HEAD":
            self.answer(500)
        elif fault == "trickles":
            while not self.server.over.wait(0.02):
                self.wfile.write(b"H")
        elif fault == "endless headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.over.is_set():
                self.wfile.write(b"X: y\r\n")
        elif fault == "is no HTTP":
            self.wfile.write(b"220 mail.example ESMTP\r\n")
        elif fault == "needs cookie":
            self.answer(200, '<form method="post">', Set_Cookie="session=1")
        else:
            self.answer(200, "<html><FORM class='a' METHOD=POST><button>Leave</button></FORM>")

    do_HEAD = do_GET

    def do_OPTIONS(self) -> None:
        self.answer(500 if self.server.fault == "OPTIONS fails" else 204)

    def do_POST(self) -> None:
        fault = self.server.fault
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_multipart = "multipart" in self.headers["Content-Type"]
        if not self.is_whole and fault == "a forged link fails":
            return self.answer(500)
        if not self.is_whole and fault != "accepts a forged link":
            return self.answer(404, "No such link.")
        self.server.on("POST")
        self.server.posts += 1
        if fault == "POST redirects":
            self.answer(303, Location="/done")
        elif fault == "POST redirects to a slash":
            self.answer(308, Location=f"{self.path}/")
        elif fault == "POST redirects to another host":
            self.answer(301, Location="http://www.other.example/u")
        elif fault == "POST is not taken":
            self.answer(405)
        elif fault == "needs cookie" and "Cookie" not in self.headers:
            self.answer(400, "No session.")
        elif fault == "sets cookie":
            self.answer(200, "Done.", Set_Cookie="session=1")
        elif fault == "POST needs authorization":
            self.answer(401, WWW_Authenticate="Bearer")
        elif fault == "POST is forbidden":
            self.answer(403)
        elif fault == "the second POST fails" and self.server.posts == 3:
            self.answer(500)
        elif fault == "needs another field" and b"confirm" not in body:
            self.answer(422)
        elif fault == "multipart is refused" and is_multipart:
            self.answer(415)
        elif fault == "POST asks for a password":
            self.answer(200, "<input type=password>")
        elif fault == "hangs":
            self.server.over.wait()
        elif fault == "huge":
            self.answer(200, "x" * 1_000_001)
        elif fault == "breaks off":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf")
        elif body in (b"", b"List-Unsubscribe=One-Click") or b"\r\n\r\nOne-Click\r\n" in body:
            self.answer(200, "Unsubscribed.", Content_Type="text/plain")
        else:
            self.answer(400)


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    begun: list[Service] = []

    def begin(fault: str = "", on: Callable[[str], None] = lambda method: None) -> Service:
        begun.append(Service(fault, on))
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()


def asked(url: str, timeout: float = 10) -> list[Line]:
    return list(conformance(parsed(url), timeout))


def failed(lines: list[Line]) -> list[str]:
    return [f"{line.name}: {line.reason}" for line in lines if line.verdict is Verdict.FAIL]


def test_the_bodies_are_those_of_the_rfc() -> None:
    assert (FIELD, len(FIELD), len(PARTS)) == (b"List-Unsubscribe=One-Click", 26, 124)


def test_a_service_without_a_fault_passes(service: Callable[..., Service]) -> None:
    lines = asked(service().url)
    assert failed(lines) == []
    assert [line.name for line in lines if line.verdict is Verdict.OK] == [
        "GET shows a page",
        "the page has a button",
        "HEAD",
        "OPTIONS",
        "a changed link is refused",
        "POST, urlencoded",
        "POST, multipart",
        "POST again",
        "no cookie",
    ]
    assert [line.name for line in lines if line.verdict is Verdict.NOTE] == [
        "https",
        "GET changes nothing",
        "POST, a > glued to the link",
        "POST, empty body",
    ]


FAULTS = {
    "GET redirects to login": "GET shows a page: it redirects to a login (302)",
    "GET asks for a password": "GET shows a page: the page asks for a password",
    "GET needs authorization": "GET shows a page: it asks who is there (401)",
    "GET is text": "GET shows a page: what it answers is not HTML",
    "GET is gone": "GET shows a page: there is no such link (410); copy all of it",
    "no form": "the page has a button: no form with method post",
    "HEAD fails": "HEAD: it fails (500)",
    "OPTIONS fails": "OPTIONS: it fails (500)",
    "trickles": "GET shows a page: no whole answer within 0.5 seconds; nothing else was tried",
    "endless headers": "GET shows a page: what came is not HTTP",
    "is no HTTP": "GET shows a page: what came is not HTTP",
    "a forged link fails": "a changed link is refused: with one character changed it fails (500)",
    "accepts a forged link": "a changed link is refused: with one character changed in its longest "
    "piece the POST is taken (200)",
    "POST redirects": "POST, urlencoded: it redirects to another page (303)",
    "POST redirects to a slash": "POST, urlencoded: it redirects to the same link with another "
    "slash at its end (308)",
    "POST redirects to another host": "POST, urlencoded: it redirects to another host (301)",
    "POST is not taken": "POST, urlencoded: it does not take a POST (405)",
    "needs cookie": "POST, urlencoded: it refuses (400): the link alone must do, without any other "
    "field, token or cookie; the page sets a cookie",
    "POST needs authorization": "POST, urlencoded: it asks who is there (401)",
    "POST is forbidden": "POST, urlencoded: it asks who is there (403)",
    "the second POST fails": "POST again: it fails (500)",
    "needs another field": "POST, urlencoded: it refuses (422)",
    "multipart is refused": "POST, multipart: it refuses (415)",
    "POST asks for a password": "POST, urlencoded: the answer asks for a password",
    "hangs": "POST, urlencoded: no whole answer within 0.5 seconds; nothing else was tried",
    "breaks off": "POST, urlencoded: what came is not HTTP, or broke off",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(service: Callable[..., Service], fault: str) -> None:
    in_a_hurry = fault in ("hangs", "trickles")
    found = failed(asked(service(fault).url, 0.5 if in_a_hurry else 10))
    assert any(line.startswith(FAULTS[fault]) for line in found), found


def test_a_link_that_there_is_not_is_asked_nothing_else(service: Callable[..., Service]) -> None:
    gone = service("GET is gone")
    assert [line.name for line in asked(gone.url)] == ["https", "GET shows a page"]
    assert gone.posts == 0


def test_a_cookie_and_a_huge_answer_are_noted(service: Callable[..., Service]) -> None:
    lines = asked(service("sets cookie").url)
    assert failed(lines) == []
    (said,) = [line for line in lines if line.name == "no cookie"]
    assert said.verdict is Verdict.NOTE
    assert "sets a cookie, which never comes back" in said.reason
    assert any("over 1 MB" in line.reason for line in asked(service("huge").url))


def test_nobody_at_home_is_named() -> None:
    gone = Service()
    gone.stop()
    (found,) = failed(asked(gone.url))
    assert found.startswith("GET shows a page: the connection failed: Connection refused")


def test_a_certificate_that_no_one_trusts_is_named(service: Callable[..., Service]) -> None:
    secure = service()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(MAIL / "self-signed.crt", MAIL / "rsa.key")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    (found,) = failed(asked(secure.url.replace("http:", "https:")))
    assert found.startswith("GET shows a page: the TLS certificate is not trusted: self-signed")
    assert secure.posts == 0


def test_over_tls_that_is_trusted_it_passes(
    service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(MAIL / "self-signed.crt"))
    secure = service()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(MAIL / "self-signed.crt", MAIL / "rsa.key")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    lines = asked(secure.url.replace("http:", "https:"))
    assert failed(lines) == []
    assert lines[0].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("target", "by"),
    [
        ("/u/abcdefgh", "/u/abcdffgh"),
        ("/u/ABCDEFGH", "/u/ABCDFFGH"),
        ("/leave?id=7&t=zzzzzzzz", "/leave?id=7&t=zzzzyzzz"),
        ("/u/12345a789", "/u/12346a789"),
        ("/u/aaaa%3Daaaa", "/u/aaab%3Daaaa"),
        ("/u/12345678", None),
        ("/u/abc", None),
        ("/", None),
    ],
)
def test_a_changed_link_differs_by_one_character_of_its_kind(target: str, by: str | None) -> None:
    assert changed(target) == by


def test_a_link_that_is_a_number_is_named_and_its_neighbour_left_alone(
    service: Callable[..., Service],
) -> None:
    guessed = service("accepts a forged link")
    guessed.token = "4711"
    (found,) = failed(asked(guessed.url))
    assert "so easily guessed; a changed one was not tried" in found


@pytest.mark.parametrize(
    "url",
    [
        "ftp://leave.example/u/x",
        "leave.example/u/x",
        "https:///u/x",
        "https://leave.example/u/ x",
        "https://leave.example/u/x\r\nHost: other.example",
        "https://leave.example/ü",
        "https://name:password@leave.example/u/x",
        "https://[::1/u/x",
        "https://leave.example:99999/u/x",
    ],
)
def test_what_no_request_can_be_made_of_is_refused(url: str) -> None:
    with pytest.raises(BadUrl) as refused:
        parsed(url)
    assert url not in str(refused.value)


# --- the command, and our own server ---


@pytest.fixture
def prefs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("PREFS_DATA", str(settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", settings.database_url)

    def run(*words: str, here: str | None = None, stdin: str | None = None) -> Result:
        if here is not None:
            monkeypatch.setenv("PREFS_PUBLIC_URL", here)
        return CliRunner().invoke(main, ("mail", "conformance", *words), input=stdin)

    return run


def minted(opened: Installation, cast: Cast, base: str) -> Minted:
    scope = cast.tenant.topic("product-news").scope
    digest = cast.tenant.digest(GRACE)
    claim = Claim(Action.UNSUBSCRIBE, cast.tenant.id, GRACE.channel, digest, scope)
    return opened.links.mint(base, claim, opened.clock())


def test_our_own_server_passes_and_the_database_bears_it_out(
    served: Served, prefs: Callable[..., Result], opened: Installation, cast: Cast
) -> None:
    link = minted(opened, cast, served.url).unsubscribe
    for first in (True, False):
        said = prefs(link, "--yes", here=served.url)
        assert said.exit_code == 0, said.output
        assert "FAIL" not in said.output
        assert "ok    GET, HEAD and OPTIONS change nothing: the database holds no" in said.output
        assert (
            "ok    a changed link changes nothing: the database holds no new event" in said.output
        )
        assert "ok    the POST is recorded: the database holds it as event " in said.output
        assert ("as event 1\n" in said.output) is first
        assert link.rpartition("/")[2] not in said.output
    as_a_stranger_sees_it = asked(link)
    assert failed(as_a_stranger_sees_it) == []
    assert {line.name for line in as_a_stranger_sees_it if line.verdict is Verdict.NOTE} == {
        "https",
        "GET changes nothing",
        "POST, a > glued to the link",
        "POST, empty body",
    }


def test_a_preference_link_of_ours_fails(
    service: Callable[..., Service], prefs: Callable[..., Result], opened: Installation, cast: Cast
) -> None:
    one = service()
    here = f"http://127.0.0.1:{one.server_port}"
    said = prefs(minted(opened, cast, here).preferences, "--yes", here=here)
    assert said.exit_code == 1
    assert "FAIL  the link: it leads to this installation and is no unsubscribe link" in said.output


def test_a_200_that_stored_nothing_and_a_get_that_stores_are_told_by_the_database(
    service: Callable[..., Service],
    prefs: Callable[..., Result],
    opened: Installation,
    cast: Cast,
) -> None:
    scope = cast.tenant.topic("product-news").scope
    out = Word(Kind.OUT, opened.clock(), scope, Voice.PERSON, Authority.PERSON, door="a test")

    def leave() -> None:
        with opened.database.writing() as connection:
            ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, GRACE), out))

    def begun(on: Callable[[str], None]) -> str:
        one = service("", on)
        here = f"http://127.0.0.1:{one.server_port}"
        link = minted(opened, cast, here).unsubscribe
        one.token = link.rpartition("/")[2]
        said = prefs(link, "--yes", here=here)
        assert said.exit_code == 1
        return said.output

    assert "FAIL  the POST is recorded: the database holds no new word" in begun(
        lambda method: None
    )
    said = begun(lambda method: leave() if method == "GET" else None)
    assert "FAIL  GET, HEAD and OPTIONS change nothing: the database holds a new event" in said
    assert "FAIL  the POST is recorded" in said


def test_it_says_whom_it_unsubscribes_and_asks_first(
    service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFS_DATA", str(tmp_path / "nowhere"))
    one = service()
    said = CliRunner().invoke(main, ("mail", "conformance", one.url), input="n\n")
    assert said.exit_code == 1
    assert "This unsubscribes whom the link is for" in said.output
    assert one.posts == 0
    # It needs no installation, and makes none.
    said = CliRunner().invoke(main, ("mail", "conformance", one.url), input="y\n")
    assert said.exit_code == 0
    assert one.posts == 4
    assert not (tmp_path / "nowhere").exists()
    assert TOKEN not in said.output


def test_a_url_that_is_none_is_refused_in_one_sentence() -> None:
    said = CliRunner().invoke(main, ("mail", "conformance", "leave.example/u/x", "--yes"))
    assert said.exit_code == 2
    assert "Error: The link begins with https:// and a host." in said.output
