"""A message is checked before it is sent: what a mailbox provider would not take is said."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import quote

import dkim
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from prefs.address import Address, Channel
from prefs.cli import main
from prefs.demo import ALICE, BOB, Cast
from prefs.installation import Installation
from prefs.links import Action, Claim, Minted
from prefs.mail.check import LONGEST, Finding, Level, check
from prefs.policy import Scope
from prefs.settings import Settings

KEY = (Path(__file__).parent / "mail" / "rsa.key").read_bytes()
LONG_LINES = SMTP.clone(max_line_length=998)
SIGNED = ("From", "To", "Subject", "List-Unsubscribe", "List-Unsubscribe-Post")
MAILTO = "<mailto:leave+k7q2@acme.example>"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is said of a message is the same whichever database the directory was read from."""
    file = tmp_path / "prefs.sqlite3"
    shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


def minted(opened: Installation, cast: Cast, address: Address = ALICE) -> Minted:
    digest = cast.tenant.digest(address)
    scope = cast.tenant.topic("product-news").scope
    claim = Claim(Action.UNSUBSCRIBE, cast.tenant.id, address.channel, digest, scope)
    return opened.links.mint(opened.settings.public_url, claim, opened.clock())


def written(links: Minted) -> EmailMessage:
    message = EmailMessage(LONG_LINES)
    message["From"] = "Acme <news@acme.example>"
    message["To"] = "Alice <alice@example.org>"
    message["Subject"] = "What is new"
    message["List-Id"] = "Product news <product-news.acme.example>"
    message["List-Unsubscribe"] = f"{MAILTO}, <{links.unsubscribe}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(f"News.\n\nChoose what you get: {links.preferences}\n")
    message.add_alternative(
        f'<p>News.</p><p><a style="x" href="{links.preferences}">Choose</a></p>', subtype="html"
    )
    return message


def signed(raw: bytes, fields: tuple[str, ...] = SIGNED, domain: str = "acme.example") -> bytes:
    names = [name.lower().encode() for name in fields]
    header: bytes = dkim.sign(raw, b"s1", domain.encode(), KEY, include_headers=names)
    return header + raw


@pytest.fixture
def links(opened: Installation, cast: Cast) -> Minted:
    return minted(opened, cast)


@pytest.fixture
def message(links: Minted) -> EmailMessage:
    return written(links)


def worth_saying(found: list[Finding]) -> list[str]:
    return [finding.sentence for finding in found if finding.level is not Level.NOTE]


def test_what_pythons_own_library_writes_and_dkim_signs_is_well(
    opened: Installation, message: EmailMessage
) -> None:
    raw = signed(message.as_bytes())
    assert check(raw, opened) == []


@pytest.mark.parametrize(
    "spelled",
    [
        pytest.param(lambda raw: raw.replace(b"\r\n", b"\n"), id="LF"),
        pytest.param(lambda raw: b"From prefs Mon Nov  2 12:00:00 2026\n" + raw, id="an mbox"),
        pytest.param(lambda raw: b"\xef\xbb\xbf" + raw, id="a byte order mark"),
        pytest.param(
            lambda raw: raw.replace(b"Subject: What", b"Subject: W\xe4s\xff"), id="8 bits"
        ),
        pytest.param(
            lambda raw: raw.replace(b"List-Unsubscribe:", b"LIST-UNSUBSCRIBE:"), id="capitals"
        ),
        pytest.param(
            lambda raw: re.sub(rb"(?<=One-Click)\r\n", b" \r\n", raw), id="a space at the end"
        ),
        pytest.param(lambda raw: raw.replace(b">, <https", b">,\r\n <https"), id="folded"),
        pytest.param(
            lambda raw: raw.replace(b" h=from :", b" h=\r\n\tFROM\r\n\t:"), id="a folded h="
        ),
        pytest.param(
            lambda raw: (
                b"DKIM-Signature: v=1; a=rsa-sha256; d=mailer.example; s=x; h=From:To; "
                b"bh=x; b=x\r\n" + raw
            ),
            id="the mailer's own signature before it",
        ),
        pytest.param(
            lambda raw: raw.replace(b"To: Alice <alice@example.org>", b"To: ALICE@Example.ORG"),
            id="another spelling of the recipient",
        ),
        pytest.param(
            lambda raw: b"Precedence: bulk\r\nAuto-Submitted: auto-generated\r\n" + raw,
            id="marks of a machine",
        ),
    ],
)
def test_a_spelling_that_means_the_same_is_well(
    opened: Installation, message: EmailMessage, spelled: Callable[[bytes], bytes]
) -> None:
    raw = signed(message.as_bytes())
    assert spelled(raw) != raw
    assert check(spelled(raw), opened) == []


def replaced(name: str, value: str | None) -> Callable[[EmailMessage], None]:
    def change(message: EmailMessage) -> None:
        del message[name]
        if value is not None:
            message[name] = value

    return change


def edited(pattern: str, by: str) -> Callable[[bytes], bytes]:
    return lambda raw: re.sub(pattern.encode(), by.encode(), raw, count=1)


LU, LUP = "List-Unsubscribe", "List-Unsubscribe-Post"
HTTPS = "<https://prefs.example.com/u/EZAAabc.def>"

# What is wrong with the fields, whatever the link is; and the one thing that is said of it.
BROKEN_FIELDS = [
    pytest.param(replaced(LU, None), "error: There is no List-Unsubscribe field", id="none"),
    pytest.param(
        replaced(LUP, None), "error: There is no List-Unsubscribe-Post field", id="no Post field"
    ),
    pytest.param(
        replaced(LUP, "List-Unsubscribe=one-click"),
        "error: List-Unsubscribe-Post is not exactly",
        id="the Post field in lower case",
    ),
    pytest.param(
        replaced(LUP, '"List-Unsubscribe=One-Click"'),
        "error: List-Unsubscribe-Post is not exactly",
        id="the Post field in quotes",
    ),
    pytest.param(
        replaced(LU, MAILTO), "error: List-Unsubscribe has no https link", id="mailto alone"
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, https://prefs.example.com/u/EZAA"),
        "error: List-Unsubscribe has text that is not in angle brackets",
        id="no angle brackets",
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, <https://prefs.example.com/u/EZAA"),
        "error: List-Unsubscribe has text that is not in angle brackets",
        id="a bracket that does not close",
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, {HTTPS}, <https://other.example/x1>"),
        "error: List-Unsubscribe has more than one https link",
        id="two https links",
    ),
    pytest.param(
        replaced(LU, f"<mailto:{'x' * 65}@acme.example>, {HTTPS}"),
        "error: The mailto link has more than 64 octets before the @",
        id="too long a local part",
    ),
    pytest.param(
        replaced(LU, f"<mailto:?subject=leave>, {HTTPS}"),
        "error: The mailto link names no address",
        id="a mailto to nobody",
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, <https://[::1/u/x>"),
        "error: The link is no URL",
        id="a link that is no URL",
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, <https://leave.example/>"),
        "error: The link tells neither recipient nor list",
        id="a link that is a bare host",
    ),
    pytest.param(
        replaced(LU, f"{MAILTO}, <https://leave.example/{'x' * 200}>"),
        "warning: The link has 222 characters",
        id="a link that is too long",
    ),
    pytest.param(
        replaced(LU, MAILTO + ", <https://leave.example/{{token}}>"),
        "warning: The link holds characters that stand in no URL",
        id="a placeholder that was not filled",
    ),
    pytest.param(replaced("List-Id", None), "warning: There is no List-Id field", id="no List-Id"),
    pytest.param(
        replaced("List-Id", "Product news"), "warning: List-Id is malformed", id="a bare List-Id"
    ),
    pytest.param(
        replaced("List-Id", "News <news>"),
        "warning: List-Id is malformed",
        id="a List-Id without a dot",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BROKEN_FIELDS)
def test_a_broken_field_is_named(
    opened: Installation,
    message: EmailMessage,
    change: Callable[[EmailMessage], None],
    sentence: str,
) -> None:
    change(message)
    present = tuple(name for name in SIGNED if name in message)
    found = check(signed(message.as_bytes(), present), opened)
    said = [f"{finding.level}: {finding.sentence}" for finding in found]
    assert any(line.startswith(sentence) for line in said), said


# What happened to the bytes of a good message on their way.
BROKEN_BYTES = [
    pytest.param(
        edited(r"List-Unsubscribe-Post: .*\r\n", r"\g<0>\g<0>"),
        "error: There are 2 List-Unsubscribe-Post fields",
        id="the Post field twice",
    ),
    pytest.param(
        edited(r"List-Unsubscribe: .*\r\n", r"\g<0>\g<0>"),
        "error: There are 2 List-Unsubscribe fields",
        id="the field twice",
    ),
    pytest.param(
        edited(r"List-Id: .*\r\n", r"\g<0>\g<0>"),
        "warning: There are 2 List-Id fields",
        id="List-Id twice",
    ),
    pytest.param(
        edited(r"From: .*\r\n", r"\g<0>\g<0>"), "error: There are 2 From fields", id="From twice"
    ),
    pytest.param(
        edited(r"<https:(//prefs.example.com/u/)", r"<http:\1"),
        "error: The link begins with http",
        id="http",
    ),
    pytest.param(
        edited(r"(<https://prefs.example.com/u/.{20})", "\\1\r\n "),
        "warning: A link in List-Unsubscribe is folded",
        id="folded in the middle of the link",
    ),
    pytest.param(
        edited(rf"{re.escape(MAILTO)}, ", ""),
        "warning: List-Unsubscribe has no mailto link",
        id="no mailto",
    ),
    pytest.param(
        edited(r"DKIM-Signature: (.*\r\n[ \t])*.*\r\n", ""),
        "error: There is no DKIM-Signature",
        id="not signed",
    ),
    pytest.param(
        edited(r" d=acme.example;", " d=acme.example; d=acme.example;"),
        "error: A DKIM-Signature lacks a tag or has one twice",
        id="a signature with a tag twice",
    ),
    pytest.param(
        edited(r"Subject: What is new\r\n", "no field at all\r\n"),
        "warning: A line among the header fields is none",
        id="a line that is no field",
    ),
    pytest.param(
        edited(r"(<https://prefs.example.com/u/.{30})...", r"\1xyz"),
        "error: The link leads to this installation and does not open",
        id="a link that was changed",
    ),
    pytest.param(
        edited(r"(<https://prefs.example.com/)u/", r"\1w/"),
        "error: The link leads to this installation and does not open",
        id="another door of this installation",
    ),
    pytest.param(
        edited(r"To: Alice <alice@example.org>", "To: Bob <bob@example.org>"),
        "error: The link is of another person",
        id="somebody else's link",
    ),
    pytest.param(
        edited(r"To: Alice <alice@example.org>", "To: undisclosed-recipients:;"),
        "warning: The message does not tell whom it is for",
        id="no recipient",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BROKEN_BYTES)
def test_what_happened_to_a_good_message_on_its_way_is_named(
    opened: Installation,
    message: EmailMessage,
    change: Callable[[bytes], bytes],
    sentence: str,
) -> None:
    raw = signed(message.as_bytes())
    found = check(change(raw), opened)
    assert change(raw) != raw
    said = [f"{finding.level}: {finding.sentence}" for finding in found]
    assert any(line.startswith(sentence) for line in said), said


def test_the_encoded_word_that_pythons_library_makes_of_a_link_is_named(
    opened: Installation, links: Minted
) -> None:
    raw = written(links).as_bytes(policy=SMTP)
    (sentence,) = worth_saying(check(signed(raw), opened))
    assert "encoded word" in sentence
    assert "max_line_length=998" in sentence


@pytest.mark.parametrize("left_out", ["List-Unsubscribe", "List-Unsubscribe-Post"])
def test_a_signature_that_leaves_one_of_them_out_is_named(
    opened: Installation, message: EmailMessage, left_out: str
) -> None:
    fields = tuple(name for name in SIGNED if name != left_out)
    (found,) = check(signed(message.as_bytes(), fields), opened)
    assert f": {left_out} is not in the h= of the best one" in found.sentence
    assert "RFC 8058 section 3.1" in found.minds


def test_two_signatures_that_cover_one_field_each_are_not_enough(
    opened: Installation, message: EmailMessage
) -> None:
    raw = message.as_bytes()
    raw = signed(raw, ("From", "List-Unsubscribe"))
    raw = signed(raw, ("From", "List-Unsubscribe-Post"))
    assert raw.count(b"DKIM-Signature:") == 2
    (found,) = check(raw, opened)
    assert found.sentence.startswith("No DKIM signature covers From and both fields")
    assert check(signed(raw), opened) == []


@pytest.mark.parametrize(
    ("domain", "level"),
    [
        ("acme.example", None),
        ("ACME.example", None),
        ("mail.acme.example", None),
        ("mailer.example", Level.WARNING),
        ("notacme.example", Level.WARNING),
        ("me.example", Level.WARNING),
    ],
)
def test_a_signature_of_another_domain_is_a_warning(
    opened: Installation, message: EmailMessage, domain: str, level: Level | None
) -> None:
    found = check(signed(message.as_bytes(), domain=domain), opened)
    assert [finding.level for finding in found] == ([level] if level else [])


def test_of_neighbouring_domains_no_more_is_said_than_can_be_known(
    opened: Installation, message: EmailMessage
) -> None:
    replaced("From", "news@letters.acme.example")(message)
    (found,) = check(signed(message.as_bytes(), domain="mail.acme.example"), opened)
    assert found.level is Level.NOTE
    assert "neighbours" in found.sentence


# --- the link ---


def test_a_preference_link_is_no_one_click_link(
    opened: Installation, links: Minted, message: EmailMessage
) -> None:
    for link in (links.preferences, links.preferences.replace("/p/", "/u/")):
        replaced(LU, f"{MAILTO}, <{link}>")(message)
        (found,) = check(signed(message.as_bytes()), opened)
        assert "is a preference link" in found.sentence


def test_a_link_behind_a_click_tracker_is_named(
    opened: Installation, links: Minted, message: EmailMessage
) -> None:
    tracked = f"https://click.mailer.example/?to={quote(links.unsubscribe, safe='')}"
    replaced(LU, f"{MAILTO}, <{tracked}>")(message)
    (sentence,) = worth_saying(check(signed(message.as_bytes()), opened))
    assert "click tracker, which answers a POST with a redirect" in sentence


def test_a_link_elsewhere_is_doubted_if_the_text_holds_ours(
    opened: Installation, message: EmailMessage
) -> None:
    replaced(LU, f"{MAILTO}, <https://click.mailer.example/aHR0cHM6>")(message)
    (sentence,) = worth_saying(check(signed(message.as_bytes()), opened))
    assert "List-Unsubscribe leads elsewhere" in sentence


def test_of_another_services_link_the_form_alone_is_checked_and_that_is_said(
    opened: Installation, links: Minted
) -> None:
    message = written(
        Minted("https://other.example/leave/1f8", "https://other.example/unsubscribe")
    )
    raw = signed(message.as_bytes())
    (found,) = check(raw, opened)
    assert (found.level, found.sentence) == (
        Level.NOTE,
        "The link is of another service than https://prefs.example.com: only its form could be "
        "checked.",
    )
    (found,) = check(raw, None)
    assert (found.level, "no installation" in found.sentence) == (Level.NOTE, True)


def test_a_blind_copys_recipient_is_told_by_hand(
    opened: Installation, message: EmailMessage
) -> None:
    replaced("To", "Acme <news@acme.example>")(message)
    raw = signed(message.as_bytes())
    assert "of another person" in check(raw, opened)[0].sentence
    assert check(raw, opened, "Alice@Example.org") == []
    assert "of another person" in check(raw, opened, BOB.value)[0].sentence
    assert check(b"Delivered-To: alice@example.org\r\n" + raw, opened) == []


def test_a_link_for_another_channel_or_of_what_is_gone_is_named(
    opened: Installation, cast: Cast, links: Minted, message: EmailMessage
) -> None:
    claim = opened.links.open(links.unsubscribe.rpartition("/")[2], Action.UNSUBSCRIBE)
    for other, sentence in (
        (replace(claim, channel=Channel.SMS), "made for sms"),
        (replace(claim, scope=Scope(None, 999)), "that is not here"),
        (replace(claim, tenant=999), "that is not here"),
    ):
        link = opened.links.mint("https://prefs.example.com", other, opened.clock()).unsubscribe
        replaced(LU, f"{MAILTO}, <{link}>")(message)
        assert sentence in check(signed(message.as_bytes()), opened)[0].sentence


# --- the text ---


@pytest.mark.parametrize(
    ("html", "well"),
    [
        pytest.param(
            '<style>p {}</style>Hi<a href="https://other.example/x">Unsubscribe</a>',
            True,
            id="so called",
        ),
        pytest.param(
            "To unsubscribe, go <A class=x HREF='https://other.example/x'>here</A>",
            True,
            id="so called before it",
        ),
        pytest.param(
            '<a href="https://other.example/?a=1&amp;b=2"><b>Se désabonner</b></a>',
            True,
            id="in French",
        ),
        pytest.param('<a href="https://other.example/x">Shop</a>', False, id="another link"),
        pytest.param('<a href="http://other.example/x">Unsubscribe</a>', False, id="http"),
        pytest.param(
            "<style>/* unsubscribe https://other.example/x */</style>Hi", False, id="in a style"
        ),
        pytest.param(
            f'<a href="https://other.example/x">Shop</a>{"<p>news</p>" * 99}unsubscribe',
            False,
            id="far from the word",
        ),
        pytest.param("Unsubscribe", False, id="no link"),
    ],
)
def test_a_link_to_leave_is_looked_for_where_a_reader_would_see_it(
    opened: Installation, links: Minted, message: EmailMessage, html: str, well: bool
) -> None:
    message.clear_content()
    message.set_content(html, subtype="html")
    said = worth_saying(check(signed(message.as_bytes()), opened))
    assert (said == []) is well, said


# --- whatever is given ---


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        pytest.param(b"", "The file is empty", id="nothing"),
        pytest.param(b"\r\n \n", "The file is empty", id="blank lines"),
        pytest.param(bytes(range(256)) * 99, "This is no mail message", id="bytes of anything"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "This is no mail message", id="a picture"),
        pytest.param(b"<html><body>Hi", "This is no mail message", id="a page"),
        pytest.param(
            b"From: a@b.example\n" * (LONGEST // 18 + 1), "The message is over 30 MB", id="too long"
        ),
        pytest.param(
            b"From: a@b.example\n"
            + b"".join(
                b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n" % (n, n)
                for n in range(3000)
            ),
            "The message cannot be read",
            id="parts in parts in parts",
        ),
        pytest.param(
            b"From: " + b"(" * 9000 + b"\n\nHi", "The message cannot be read", id="nested comments"
        ),
    ],
)
def test_what_is_no_message_is_one_plain_sentence(
    opened: Installation, raw: bytes, sentence: str
) -> None:
    (found,) = check(raw, opened)
    assert found.level is Level.ERROR
    assert found.sentence.startswith(sentence)


GOOD = signed(
    written(Minted("https://other.example/u/EZAAabcdef.x", "https://other.example/p/x")).as_bytes()
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 20),
            st.sampled_from(
                [b"<", b">", b"(", b'"', b"\0", b"\xff", b"\n", b"\r\n\r\n", b"=?", b"*"]
            )
            | st.binary(max_size=9),
        ),
        max_size=9,
    )
)
def test_no_damage_to_a_message_is_more_than_findings(damage: list[tuple[int, int, bytes]]) -> None:
    raw = GOOD
    for at, length, by in damage:
        raw = raw[:at] + by + raw[at + length :]
    for finding in check(raw, None):
        assert finding.sentence.endswith(".")


# --- the command ---


@pytest.fixture
def prefs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("PREFS_DATA", str(settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PREFS_PUBLIC_URL", settings.public_url)

    def run(*words: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(main, ("mail", "check", *words), input=stdin)

    return run


def test_the_command_says_that_all_is_well_or_a_sentence_for_each_finding(
    prefs: Callable[..., Result], message: EmailMessage, tmp_path: Path
) -> None:
    file = tmp_path / "news.eml"
    file.write_bytes(signed(message.as_bytes()))
    well = prefs(str(file))
    assert (well.exit_code, well.output) == (0, "All is well.\n")
    assert prefs("-", stdin=file.read_bytes()).exit_code == 0
    replaced("List-Id", None)(message)
    replaced(LUP, None)(message)
    file.write_bytes(signed(message.as_bytes(), ("From",)))
    found = prefs(str(file), "--to", BOB.value)
    assert found.exit_code == 1
    lines = found.output.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "error", "error", "warning"]
    assert lines[0].endswith("(Gmail, Yahoo, RFC 8058 section 3.1)")


def test_no_finding_repeats_a_token_or_an_address(
    prefs: Callable[..., Result], links: Minted, message: EmailMessage
) -> None:
    token = links.unsubscribe.rpartition("/")[2]
    for change in (
        replaced("To", BOB.value),
        replaced(LU, f"<{links.unsubscribe}> {links.unsubscribe}"),
        replaced(LU, f"<{links.unsubscribe}x>"),
        replaced(LU, f"<{links.preferences}>"),
    ):
        change(message)
        said = prefs("-", stdin=message.as_bytes())
        assert said.exit_code == 1
        for secret in (token, links.preferences.rpartition("/")[2], "bob", "alice", "leave+"):
            assert secret not in said.output
    refused = prefs("-", "--to", "alice", stdin=message.as_bytes())
    assert refused.exit_code == 1
    assert "an email address has an @" in refused.output.lower()


def test_without_an_installation_the_form_is_checked_all_the_same(
    prefs: Callable[..., Result],
    message: EmailMessage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PREFS_DATA", str(tmp_path / "nowhere"))
    said = prefs("-", stdin=signed(message.as_bytes()))
    assert "no installation of prefs was found here" in said.output
    assert "Traceback" not in said.output
    assert not (tmp_path / "nowhere").exists()


def test_while_the_database_is_away_what_is_known_of_the_message_is_said(
    prefs: Callable[..., Result],
    settings: Settings,
    message: EmailMessage,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PREFS_DATABASE_URL", f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite3'}")
    raw = signed(message.as_bytes())
    assert prefs("-", stdin=raw).output == "All is well.\n"
    settings.snapshot.unlink()
    said = prefs("-", stdin=raw)
    assert said.exit_code == 0
    assert said.output.startswith("note: Whose the link is could not be looked up")
