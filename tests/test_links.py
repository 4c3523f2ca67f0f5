"""Links: whom they speak of and what for is signed, and they work for ever."""

import base64
import hashlib
from dataclasses import replace
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.policy import SMTP
from itertools import count, product

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from prefs.address import Address, Channel, digest_key
from prefs.links import Action, BadLink, Claim, Links, Minted, list_id, undo_of
from prefs.policy import Scope
from tests.conftest import NOON

QUICK = hypothesis_settings(deadline=None, max_examples=150)

KEY, OLDER = bytes(range(32)), bytes(range(32, 64))
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

ALICE = Address(Channel.EMAIL, "alice@example.org")
CLAIM = Claim(
    Action.UNSUBSCRIBE,
    tenant=1,
    channel=Channel.EMAIL,
    digest=ALICE.digest(digest_key(KEY, 1)),
    scope=Scope(None, 10),
)

CLAIMS = st.builds(
    Claim,
    st.sampled_from(Action),
    st.integers(0, 2**32 - 1),
    st.sampled_from(Channel),
    st.binary(min_size=16, max_size=16),
    st.one_of(
        st.just(Scope()),
        st.integers(0, 2**32 - 1).map(Scope),
        st.integers(0, 2**32 - 1).map(lambda topic: Scope(None, topic)),
    ),
    campaign=st.from_regex(r"[A-Za-z0-9._-]{0,32}", fullmatch=True),
)


def refused(links: Links, token: str, action: Action = Action.UNSUBSCRIBE) -> bool:
    try:
        links.open(token, action)
    except BadLink:
        return True
    return False


# --- round trip ---


@QUICK
@given(CLAIMS)
def test_a_link_says_what_was_signed(claim: Claim) -> None:
    links = Links([KEY])
    assert links.open(links.sign(claim), claim.action) == claim


@QUICK
@given(CLAIMS, st.integers(0, 2**32 - 1))
def test_what_can_turn_something_on_tells_when_it_was_minted(claim: Claim, second: int) -> None:
    links = Links([KEY])
    opened = links.open(links.sign(replace(claim, minted=second * 1000 + 7)), claim.action)
    assert opened.minted == (0 if claim.action is Action.UNSUBSCRIBE else second * 1000)


def test_a_topics_brand_is_left_to_the_directory() -> None:
    links = Links([KEY])
    opened = links.open(links.sign(replace(CLAIM, scope=Scope(7, 10))), Action.UNSUBSCRIBE)
    assert opened.scope == Scope(None, 10)


def test_the_same_claim_is_the_same_link() -> None:
    assert Links([KEY]).sign(CLAIM) == Links([KEY]).sign(CLAIM)


def test_an_unsubscribe_link_is_short() -> None:
    assert len(Links([KEY]).sign(CLAIM)) == 59
    assert len(Links([KEY]).sign(replace(CLAIM, action=Action.PREFERENCES))) <= 66


def test_minting_gives_both_links_and_the_two_headers_of_rfc_8058() -> None:
    links = Links([KEY])
    claim = replace(CLAIM, scope=Scope(7, 10), campaign="spring")
    minted = links.mint("https://prefs.example.com", claim, NOON)
    base, _, token = minted.unsubscribe.rpartition("/")
    assert base == "https://prefs.example.com/u"
    assert links.open(token, Action.UNSUBSCRIBE) == replace(claim, scope=Scope(None, 10))
    base, _, token = minted.preferences.rpartition("/")
    assert base == "https://prefs.example.com/p"
    assert links.open(token, Action.PREFERENCES) == replace(
        claim, action=Action.PREFERENCES, scope=Scope(7), minted=NOON
    )
    assert minted.headers == {
        "List-Unsubscribe": f"<{minted.unsubscribe}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_an_app_is_given_a_link_of_its_own_that_holds_no_campaign() -> None:
    links = Links([KEY])
    push = replace(CLAIM, channel=Channel.PUSH, scope=Scope(7, 10), campaign="spring")
    device = links.mint("https://prefs.example.com", push, NOON).device
    assert device
    base, _, token = device.rpartition("/")
    assert base == "https://prefs.example.com/d"
    assert links.open(token, Action.DEVICE) == Claim(
        Action.DEVICE, 1, Channel.PUSH, CLAIM.digest, Scope(), NOON
    )
    assert links.mint("https://prefs.example.com", CLAIM, NOON).device is None


# --- header fields ---


def test_a_mailto_stands_behind_the_one_https_link() -> None:
    minted = Minted("https://h/u/t", "https://h/p/t", mailbox="unsubscribe-x@leave.example.com")
    assert minted.headers["List-Unsubscribe"] == (
        "<https://h/u/t>, <mailto:unsubscribe-x@leave.example.com?subject=unsubscribe>"
    )
    assert "List-Id" not in minted.headers


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("Product news", "Product news"),
        ("What's new", "What's new"),
        ("News, offers & more", '"News, offers & more"'),
        ('The "best" of Acme', r'"The \"best\" of Acme"'),
        (r"a\b", r'"a\\b"'),
        ("Acme Inc.", '"Acme Inc."'),
        ("<b>@", '"<b>@"'),
        ("=?utf-8?q?x?=", '"=?utf-8?q?x?="'),
        ("Two\r\nBcc: lines", '"Two Bcc: lines"'),
        ("  wide \t open ", "wide open"),
    ],
)
def test_a_list_is_called_by_its_name_whatever_signs_are_in_it(name: str, phrase: str) -> None:
    assert list_id(name, ("news", "acme"), "h.example") == f"{phrase} <news.acme.h.example>"


@pytest.mark.parametrize(
    "name",
    [
        "Neuigkeiten für Sie",
        "新製品のお知らせ",
        "أخبار المنتجات",
        "é" * 120,
        "🎉 Offers",
        "a\u2028é",
    ],
)
def test_a_name_beyond_ascii_is_encoded_for_a_header_and_reads_the_same(name: str) -> None:
    field = list_id(name, ("news", "acme"), "h.example")
    assert field
    assert field.isascii()
    assert "\n" not in field
    words = field.removesuffix(" <news.acme.h.example>")
    assert all(len(word) <= 75 for word in words.split())
    assert str(make_header(decode_header(words))) == name.replace("\u2028", " ")


def test_a_mail_program_reads_the_fields_as_they_were_meant() -> None:
    field = list_id('Ümläut, "quoted"', ("news", "acme"), "h.example")
    message = BytesParser(policy=SMTP).parsebytes(f"List-Id: {field}\r\n\r\n".encode())
    assert str(message["List-Id"]) == 'Ümläut, "quoted" <news.acme.h.example>'


def test_a_list_without_a_visible_name_is_its_identifier() -> None:
    assert list_id("\u200b\n", ("news",), "h.example") == "<news.h.example>"


def test_an_identifier_that_would_be_too_long_is_left_out() -> None:
    assert list_id("News", ("a" * 64, "b" * 64), "c" * 125) is not None
    assert list_id("News", ("a" * 64, "b" * 64), "c" * 126) is None


def test_an_undo_knows_its_age_and_the_numbers_of_what_it_takes_back() -> None:
    links = Links([KEY])
    undo = undo_of(CLAIM, 42, 44, NOON, CLAIM.digest)
    opened = links.open(links.sign(undo), Action.UNDO)
    assert (opened.minted, opened.campaign) == (NOON, "42-44")


# --- one action each ---


@QUICK
@given(CLAIMS)
def test_a_link_of_one_purpose_never_opens_as_another(claim: Claim) -> None:
    links = Links([KEY])
    token = links.sign(claim)
    assert all(refused(links, token, other) for other in Action if other is not claim.action)


@pytest.mark.parametrize(("signed", "asked"), list(product(Action, Action)))
def test_even_with_the_name_of_another_purpose_in_it_the_salt_tells_them_apart(
    signed: Action, asked: Action
) -> None:
    """Whoever could change the kind inside a token would still need the other signature."""
    links = Links([KEY])
    value, _, signature = links.sign(replace(CLAIM, action=signed)).partition(".")
    body = bytearray(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    body[0] = body[0] & 0xF0 | asked.value
    renamed = base64.urlsafe_b64encode(bytes(body)).rstrip(b"=").decode()
    assert refused(links, f"{renamed}.{signature}", asked) is (signed is not asked)


# --- changed, cut, glued ---


@pytest.mark.parametrize("action", Action)
def test_every_single_character_matters(action: Action) -> None:
    links = Links([KEY])
    token = links.sign(replace(CLAIM, action=action, campaign="a"))
    for at, character in product(range(len(token)), BASE64 + ".=+/~% "):
        if character != token[at]:
            changed = token[:at] + character + token[at + 1 :]
            assert refused(links, changed, action), (at, character)


def test_a_link_with_a_character_too_many_or_too_few_is_refused() -> None:
    links = Links([KEY])
    token = links.sign(CLAIM)
    for at in range(len(token)):
        assert refused(links, token[:at] + token[at + 1 :]), at
        for character in "A.=-+/%":
            assert refused(links, token[:at] + character + token[at:]) or (
                at == 0 and character == "."
            ), (at, character)


def test_a_truncated_link_is_refused() -> None:
    links = Links([KEY])
    token = links.sign(CLAIM)
    assert all(refused(links, token[:length]) for length in range(len(token)))
    assert all(refused(links, token[length:]) for length in range(1, len(token)))


def test_neither_case_nor_padding_nor_two_tokens_in_one_are_accepted() -> None:
    links = Links([KEY])
    token = links.sign(CLAIM)
    value, _, signature = token.partition(".")
    for changed in (
        token.upper(),
        token.lower(),
        f"{value}=.{signature}",
        f"{token}=",
        f"{token}==",
        token + token,
        f"{token}.{signature}",
        f"{value}.{signature}.{signature}",
        f"{value}..{signature}",
    ):
        assert refused(links, changed), changed


@pytest.mark.parametrize(
    "glued",
    [">", ".", ")", ",", '"', "'", " ", "\u00a0", "\u200b", "\r\n", "]", '">', ").", "\t", "'>."],
)
def test_what_mail_programs_glue_to_a_link_is_taken_off(glued: str) -> None:
    links = Links([KEY])
    token = links.sign(CLAIM)
    assert links.open(token + glued, Action.UNSUBSCRIBE) == CLAIM
    assert links.open(f" {token}{glued}", Action.UNSUBSCRIBE) == CLAIM


@QUICK
@given(st.text(max_size=90))
@example("")
@example(".")
@example("\ud800." + "A" * 22)
@example("A" * 36 + "." + "A" * 22)
@example("A" * 100_000)
def test_text_that_is_no_link_is_refused_and_nothing_worse(text: str) -> None:
    links = Links([KEY])
    assert all(refused(links, text, action) for action in Action)


@QUICK
@given(st.binary(max_size=80), st.binary(min_size=16, max_size=16))
def test_bytes_of_our_form_without_our_signature_are_refused(body: bytes, guess: bytes) -> None:
    ours = Links([KEY])
    first = base64.urlsafe_b64decode(ours.sign(CLAIM).partition(".")[0] + "==")[:2]
    for packed in (body, first + body):
        value = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
        signature = base64.urlsafe_b64encode(guess).rstrip(b"=").decode()
        assert all(refused(ours, f"{value}.{signature}", action) for action in Action)


@QUICK
@given(st.data())
def test_a_link_with_anything_put_into_it_is_refused_and_nothing_worse(data: st.DataObject) -> None:
    links = Links([KEY])
    token = links.sign(CLAIM)
    at = data.draw(st.integers(1, len(token) - 1))
    strange = data.draw(st.text(min_size=1, max_size=5))
    assert refused(links, token[:at] + strange + token[at:])


# --- keys ---


def test_the_newest_key_signs_and_older_ones_go_on_verifying() -> None:
    before, both, after = Links([OLDER]), Links([OLDER, KEY]), Links([KEY])
    old, new = before.sign(CLAIM), both.sign(CLAIM)
    assert both.open(old, Action.UNSUBSCRIBE) == CLAIM
    assert new == after.sign(CLAIM)
    assert both.open(new, Action.UNSUBSCRIBE) == CLAIM
    assert refused(before, new)
    assert refused(after, old)


def test_of_keys_in_the_wrong_order_the_last_one_signs_and_every_link_still_opens() -> None:
    swapped = Links([KEY, OLDER])
    assert swapped.sign(CLAIM) == Links([OLDER]).sign(CLAIM)
    assert swapped.open(Links([KEY]).sign(CLAIM), Action.UNSUBSCRIBE) == CLAIM


def test_two_keys_that_share_an_id_both_verify_and_the_newest_signs() -> None:
    def identity(key: bytes) -> bytes:
        return base64.urlsafe_b64decode(Links([key]).sign(CLAIM)[:4])[1:2]

    twin = next(
        key
        for number in count()
        if identity(key := hashlib.sha256(b"%d" % number).digest()) == identity(KEY)
    )
    old, new = Links([KEY]).sign(CLAIM), Links([twin]).sign(CLAIM)
    for keys, signs in (([KEY, twin], new), ([twin, KEY], old)):
        both = Links([OLDER, *keys])
        assert both.sign(CLAIM) == signs
        assert both.open(old, Action.UNSUBSCRIBE) == CLAIM
        assert both.open(new, Action.UNSUBSCRIBE) == CLAIM


def test_a_link_signed_by_a_stranger_with_a_key_id_of_ours_is_refused() -> None:
    ours, theirs = Links([KEY]).sign(CLAIM), Links([OLDER]).sign(CLAIM)
    assert refused(Links([KEY]), ours.partition(".")[0] + "." + theirs.partition(".")[2])


def test_no_address_can_be_read_in_a_link() -> None:
    token = Links([KEY]).sign(replace(CLAIM, campaign="spring"))
    body = base64.urlsafe_b64decode(token.partition(".")[0] + "==")
    for part in (b"alice", b"example", b"org", b"@"):
        assert part not in body
        assert part not in token.encode()


# --- for ever ---

PINNED = [
    (CLAIM, "EbYAAAABErluKNejLXPx_q7S-dOe7fMAAAAK.r0hjRLZ8TD47ZFdACgOuAw"),
    (
        replace(CLAIM, scope=Scope(), channel=Channel.SMS, tenant=4_000_000_000),
        "EbbuaygAILluKNejLXPx_q7S-dOe7fMAAAAA.Jl37TY8UX3mr7JswZGXbAg",
    ),
    (
        replace(CLAIM, scope=Scope(7), channel=Channel.PUSH, campaign="spring-2026"),
        "EbYAAAABMbluKNejLXPx_q7S-dOe7fMAAAAHc3ByaW5nLTIwMjY.7l8_Ukfg-fj6KD_5w0fELA",
    ),
    (
        replace(CLAIM, channel=Channel.WHATSAPP),
        "EbYAAAABQrluKNejLXPx_q7S-dOe7fMAAAAK.8QIOAG_8Apg1TfWZwtEMDw",
    ),
    (
        replace(CLAIM, channel=Channel.RCS),
        "EbYAAAABUrluKNejLXPx_q7S-dOe7fMAAAAK.iA8xDE6L-G3BuVy0IWi_rg",
    ),
    (
        replace(CLAIM, action=Action.PREFERENCES, scope=Scope(7), minted=NOON),
        "ErYAAAABEbluKNejLXPx_q7S-dOe7fMAAAAHauh7QA.R8kLGDpVQE0TRqjPymdemw",
    ),
    (
        replace(CLAIM, action=Action.UNDO, scope=Scope(None, 10), minted=NOON, campaign="42"),
        "E7YAAAABErluKNejLXPx_q7S-dOe7fMAAAAKauh7QDQy.3HJp5idpZ4EU7We0u634jA",
    ),
]


@pytest.mark.parametrize(("claim", "token"), PINNED)
def test_links_that_are_in_peoples_mail_today_open_for_ever(claim: Claim, token: str) -> None:
    """These tokens are never to be changed: a release that reads them otherwise loses noes."""
    assert Links([KEY]).open(token, claim.action) == claim
    assert Links([KEY, OLDER]).open(token, claim.action) == claim


# --- campaigns ---


@pytest.mark.parametrize("campaign", ["", "a", "spring-2026_v1.2", "x" * 32])
def test_a_campaign_is_a_short_plain_id(campaign: str) -> None:
    links = Links([KEY])
    opened = links.open(links.sign(replace(CLAIM, campaign=campaign)), Action.UNSUBSCRIBE)
    assert opened.campaign == campaign


@pytest.mark.parametrize(
    "campaign", ["x" * 33, "a b", "alice@example.org", "é", "a/b", "a\n", "\ud800", "a\x00", "%41"]
)
def test_a_campaign_that_could_hold_an_address_or_break_a_link_is_refused(campaign: str) -> None:
    with pytest.raises(ValueError, match="campaign is up to 32 letters"):
        Links([KEY]).sign(replace(CLAIM, campaign=campaign))
