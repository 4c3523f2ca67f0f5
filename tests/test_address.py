"""One person, one key: however the address is spelled, and for as long as it is kept."""

import unicodedata

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from prefs.address import (
    BY_NUMBER,
    Address,
    BadAddress,
    Channel,
    _any_email_key,
    _any_number_key,
    _is_valid_email,
    digest_key,
)

settings.register_profile(
    "address", deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)
ADDRESS = settings.get_profile("address")

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH
WHATSAPP, RCS = Channel.WHATSAPP, Channel.RCS


def email(text: str) -> str:
    return Address.parse(EMAIL, text).value


def sms(text: str, region: str | None = None) -> str:
    return Address.parse(SMS, text, region).value


def push(text: str) -> str:
    return Address.parse(PUSH, text).value


# --- email ---


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("alice@example.org", "alice@example.org", id="as it is"),
        pytest.param("Alice@Example.ORG", "alice@example.org", id="capitals"),
        pytest.param("  alice@example.org\r\n", "alice@example.org", id="the end of a line"),
        pytest.param("\u00a0alice@example.org\u00a0", "alice@example.org", id="no-break spaces"),
        pytest.param("\u3000alice@example.org", "alice@example.org", id="an ideographic space"),
        pytest.param("\ufeffalice@example.org", "alice@example.org", id="a byte order mark"),
        pytest.param("al\u200bice@exam\u200bple.org", "alice@example.org", id="zero-width spaces"),
        pytest.param("alice\u2060@example.org", "alice@example.org", id="a word joiner"),
        pytest.param("alice@exam\u00adple.org", "alice@example.org", id="a soft hyphen"),
        pytest.param("\u200ealice@example.org\u200f", "alice@example.org", id="direction marks"),
        pytest.param("\u202aalice@example.org\u202c", "alice@example.org", id="embeddings"),
        pytest.param("ali\u200dce@example.org\u200c", "alice@example.org", id="joiners"),
        pytest.param("alice@example.org.", "alice@example.org", id="the root's dot"),
        pytest.param("alice@example。org", "alice@example.org", id="an ideographic full stop"),
        pytest.param("alice@ｅｘａｍｐｌｅ.org", "alice@example.org", id="a full-width domain"),
        pytest.param("Alice <alice@example.org>", "alice@example.org", id="a display name"),
        pytest.param('"Doe, A" <alice@example.org>', "alice@example.org", id="a quoted name"),
        pytest.param(
            '"a@b, c@d" <alice@example.org>', "alice@example.org", id="addresses as a name"
        ),
        pytest.param(
            "a@b.example <alice@example.org>", "alice@example.org", id="an address as a name"
        ),
        pytest.param("<alice@example.org>", "alice@example.org", id="angle brackets"),
        pytest.param("mailto:alice@example.org", "alice@example.org", id="mailto:"),
        pytest.param(
            "MAILTO:Alice%40example.org?subject=Stop", "alice@example.org", id="mailto: encoded"
        ),
        pytest.param("A <mailto:alice@example.org>", "alice@example.org", id="mailto: in brackets"),
        pytest.param("alice@example.org,", "alice@example.org", id="the comma of a list"),
        pytest.param("<alice@example.org>; ", "alice@example.org", id="the semicolon of a list"),
        pytest.param("alice @ example.org", "alice@example.org", id="spaces around the @"),
        pytest.param("alice+news@example.org", "alice+news@example.org", id="plus is not folded"),
        pytest.param("al.ice@gmail.com", "al.ice@gmail.com", id="dots are not folded"),
        pytest.param("alice@googlemail.com", "alice@googlemail.com", id="domains are not merged"),
        pytest.param("rené@example.org", "rené@example.org", id="composed"),
        pytest.param("rene\u0301@example.org", "rené@example.org", id="decomposed"),
        pytest.param("RENE\u0301@example.org", "rené@example.org", id="decomposed capitals"),
        pytest.param("\u212a@example.org", "k@example.org", id="the Kelvin sign"),
        pytest.param("İ@example.org", "i\u0307@example.org", id="the Turkish İ"),
        pytest.param("a@BÜCHER.example", "a@xn--bcher-kva.example", id="an IDN"),
        pytest.param("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example", id="its A-label"),
        pytest.param("a@bu\u0308cher.example", "a@xn--bcher-kva.example", id="its decomposed form"),
        pytest.param("a@faß.de", "a@xn--fa-hia.de", id="faß.de"),
        pytest.param("a@fass.de", "a@fass.de", id="fass.de is another domain"),
        pytest.param(
            "a@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com",
            "a@xn--mgba3gch31f060k.com",
            id="a joiner that is a letter",
        ),
        pytest.param("a.%25@example.org", "a.%25@example.org", id="a percent sign outside mailto:"),
    ],
)
def test_every_spelling_of_an_email_address_has_one_key(text: str, key: str) -> None:
    assert email(text) == key


@pytest.mark.parametrize(
    "junk",
    [
        "junk@junk",
        "a b@example.org",
        "alice@example..org",
        "alice@.example.org",
        "alice@-example-.org",
        "alice@exa mple.org",
        "alice@exam_ple.org",
        "alice@[192.0.2.1]",
        "alice@192.0.2.1",
        "alice@localhost",
        "alice@test",
        "alice@example.invalid",
        ".alice.@example.org",
        '"alice"@example.org',
        "alice@xn--zzzzzzzz99999.example",
        f"alice@{'a' * 64}.org",
    ],
)
def test_a_no_is_accepted_for_junk_with_an_at_sign_and_a_yes_is_not(junk: str) -> None:
    address = Address.parse(EMAIL, junk)
    assert not address.can_consent
    assert Address.parse(EMAIL, address.value) == address


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.org",
        "alice@mail.example.com",
        "alice@acme.test",
        "alice+news@sub.example.co.uk",
        "rené@bücher.example",
        "a@faß.de",
        "用户@例子.广告",
    ],
)
def test_a_valid_email_address_can_consent(text: str) -> None:
    assert Address.parse(EMAIL, text).can_consent


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(" \u200b\u00a0", id="nothing to be seen"),
        pytest.param("alice", id="no @"),
        pytest.param("@example.org", id="nothing before the @"),
        pytest.param("alice@", id="nothing after the @"),
        pytest.param("@@", id="nothing at all but @"),
        pytest.param("alice@.", id="a dot after the @"),
        pytest.param("<>", id="empty brackets"),
        pytest.param("mailto:", id="an empty mailto:"),
        pytest.param("mailto:" * 9 + "a@example.org", id="mailto: without end"),
        pytest.param("a@example.org, b@example.org", id="two addresses, comma"),
        pytest.param("a@example.org;b@example.org", id="two addresses, semicolon"),
        pytest.param("a@example.org b@example.org", id="two addresses, space"),
        pytest.param("A <a@example.org>, B <b@example.org>", id="two names"),
        pytest.param("ali\0ce@example.org", id="NUL"),
        pytest.param("alice@example.org\nb", id="a line feed inside"),
        pytest.param("ali\tce@example.org", id="a tab inside"),
        pytest.param("ali\x7fce@example.org", id="DEL"),
        pytest.param("ali\x85ce@example.org", id="NEL"),
        pytest.param("ali\u2028ce@example.org", id="a line separator"),
        pytest.param("alice\ud83d@example.org", id="a lone surrogate"),
        pytest.param("ali\ufffdce@example.org", id="text that was not UTF-8"),
        pytest.param("mailto:ali%00ce@example.org", id="NUL in mailto:"),
        pytest.param("mailto:ali%ffce@example.org", id="mailto: that is not UTF-8"),
        pytest.param(f"{'a' * 501}@example.org", id="513 characters"),
    ],
)
def test_what_cannot_be_one_email_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        email(text)
    assert refused.value.field == "address"


# --- SMS ---


@pytest.mark.parametrize(
    ("text", "region", "key"),
    [
        pytest.param("+14155552671", None, "+14155552671", id="E.164"),
        pytest.param("+14155552671", "GB", "+14155552671", id="E.164, whatever the region"),
        pytest.param(" +1 (415) 555-2671 ", None, "+14155552671", id="written for people"),
        pytest.param("+1.415.555.2671", None, "+14155552671", id="dots"),
        pytest.param("+1\u00a0415\u2011555\u20132671", None, "+14155552671", id="typographic"),
        pytest.param("\u202a+14155552671\u202c", None, "+14155552671", id="copied from contacts"),
        pytest.param("＋１４１５５５５２６７１", None, "+14155552671", id="full-width"),
        pytest.param("٤١٥٥٥٥٢٦٧١", "US", "+14155552671", id="Arabic digits"),
        pytest.param("tel:+1-415-555-2671", None, "+14155552671", id="tel:"),
        pytest.param("tel:+14155552671;ext=9", None, "+14155552671", id="tel: with parameters"),
        pytest.param("SMS:+14155552671", None, "+14155552671", id="sms:"),
        pytest.param("(415) 555-2671", "US", "+14155552671", id="national, with its region"),
        pytest.param("415-555-2671", "us", "+14155552671", id="a region in small letters"),
        pytest.param("4915112345678", "DE", "+4915112345678", id="the + left out"),
        pytest.param("49 151 12345678", "DE", "+4915112345678", id="the + left out, spaced"),
        pytest.param("0151 12345678", "DE", "+4915112345678", id="dialled in Germany"),
        pytest.param("15112345678", "DE", "+4915112345678", id="the 0 lost in a spreadsheet"),
        pytest.param("0491 512345", "DE", "+49491512345", id="an area code like the country's"),
        pytest.param("447911123456", "GB", "+447911123456", id="the + left out in Britain"),
        pytest.param("14155552671", "US", "+14155552671", id="the + left out where 1 is dialled"),
        pytest.param("393331234567", "IT", "+393331234567", id="the + left out without a trunk"),
        pytest.param("011 44 20 7946 0000", "US", "+442079460000", id="dialled abroad"),
        pytest.param("0044 20 7946 0000", "GB", "+442079460000", id="00 for +"),
        pytest.param("+44 (0)20 7946 0000", None, "+442079460000", id="a zero not dialled"),
        pytest.param("1-800-FLOWERS", "US", "+18003569377", id="letters"),
        pytest.param("+1 415 555 2671 x12", None, "+14155552671", id="an extension"),
        pytest.param("06 1234 5678", "IT", "+390612345678", id="Italy keeps its zero"),
        pytest.param("+39 (0)6 1234 5678", None, "+390612345678", id="... in brackets too"),
        pytest.param("090-1234-5678", "JP", "+819012345678", id="Japan"),
        pytest.param("09ー1234ー5678", "JP", "+81912345678", id="Japan, long vowel marks"),
        pytest.param("+5215512345678", None, "+5215512345678", id="Mexico before 2019"),
        pytest.param("+52 1 55 1234 5678", None, "+5215512345678", id="... however written"),
        pytest.param("55 1234 5678", "MX", "+525512345678", id="Mexico since"),
        pytest.param("+54 9 11 2345 6789", None, "+5491123456789", id="Argentina, mobile"),
        pytest.param("+54 11 2345 6789", None, "+541123456789", id="Argentina without the 9"),
        pytest.param("011 15-2345-6789", "AR", "+5491123456789", id="Argentina, dialled at home"),
        pytest.param("+55 11 8765 4321", None, "+551187654321", id="Brazil with eight digits"),
        pytest.param("+999123456789", None, "+999123456789", id="a country that is none"),
    ],
)
def test_every_spelling_of_a_phone_number_has_one_key(
    text: str, region: str | None, key: str
) -> None:
    assert sms(text, region) == key


@pytest.mark.parametrize(
    ("text", "region"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("4155552671", None, id="national, without a region"),
        pytest.param("14155552671", None, id="+ left out, without a region"),
        pytest.param("0123", "US", id="too short"),
        pytest.param("555-2671", "US", id="the area code left out"),
        pytest.param("12345", "US", id="a short code"),
        pytest.param("81234", "DE", id="a short code where numbers may be short"),
        pytest.param("+12345", None, id="a short code with +"),
        pytest.param("+1415555267100000", None, id="sixteen digits"),
        pytest.param("+04155552671", None, id="a country code of zero"),
        pytest.param("++14155552671", None, id="two plus signs"),
        pytest.param("+", None, id="only a plus"),
        pytest.param("alice@example.org", "US", id="an email address"),
        pytest.param("ACME", "US", id="an alphanumeric sender"),
        pytest.param("+1 415 555 26 7l", None, id="a letter for a digit"),
        pytest.param("4155552671, 4155552672", "US", id="two numbers"),
        pytest.param("whatsapp:+14155552671", None, id="WhatsApp"),
        pytest.param("WhatsApp: +14155552671", None, id="WhatsApp with a space"),
        pytest.param("rcs:+14155552671", None, id="RCS"),
        pytest.param("+1415555\0002671", None, id="NUL"),
        pytest.param("+1415555\ud8002671", None, id="a lone surrogate"),
        pytest.param("+1415555\n2671", None, id="a line feed inside"),
        pytest.param("1" * 513, None, id="513 characters"),
    ],
)
def test_what_cannot_be_a_phone_number_is_refused(text: str, region: str | None) -> None:
    with pytest.raises(BadAddress) as refused:
        sms(text, region)
    assert refused.value.field == "address"


@pytest.mark.parametrize("region", ["", "USA", "XX", "1", "uk", "001", "\0", "U S"])
def test_a_region_that_is_none_is_named_as_the_field_at_fault(region: str) -> None:
    for text in ("+14155552671", "4155552671"):
        with pytest.raises(BadAddress) as refused:
            sms(text, region)
        assert refused.value.field == "region"


def test_the_other_channels_do_not_look_at_the_region() -> None:
    assert Address.parse(EMAIL, "a@example.org", "nowhere").value == "a@example.org"
    assert Address.parse(PUSH, "fcm:token", "nowhere").value == "fcm:token"


@pytest.mark.parametrize("channel", sorted(BY_NUMBER))
@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+14155552671", None),
        ("(415) 555-2671", "US"),
        ("tel:+1-415-555-2671;ext=5", None),
        ("{channel}:+14155552671", None),
        ("{CHANNEL}: +1 415 555 2671", None),
        ("{channel}:415 555 2671", "us"),
        ("\u200b{channel}:+１４１５５５５２６７１\n", None),
    ],
)
def test_a_number_has_one_key_also_behind_its_channels_own_scheme(
    channel: Channel, text: str, region: str | None
) -> None:
    text = text.format(channel=channel, CHANNEL=channel.upper())
    assert Address.parse(channel, text, region).value == "+14155552671"


@pytest.mark.parametrize("channel", sorted(BY_NUMBER))
@pytest.mark.parametrize("scheme", [*sorted(BY_NUMBER), "viber", "mailto"])
def test_a_number_on_another_channel_is_not_taken_for_one_on_this(
    channel: Channel, scheme: str
) -> None:
    if scheme == channel:
        return
    with pytest.raises(BadAddress, match="another channel: name the channel") as refused:
        Address.parse(channel, f"{scheme}:+14155552671")
    # Which one it is, where we know it: whoever reads this can change it.
    assert (f"name the channel {scheme}," in str(refused.value)) is (scheme in BY_NUMBER)


def test_what_is_refused_as_a_phone_number_is_so_on_each_channel() -> None:
    for channel in BY_NUMBER:
        for text in ("", "4155552671", "12345", "alice@example.org", f"{channel}:acme_agent"):
            with pytest.raises(BadAddress):
                Address.parse(channel, text)
        with pytest.raises(BadAddress) as refused:
            Address.parse(channel, "+14155552671", "nowhere")
        assert refused.value.field == "region"


@pytest.mark.parametrize("text", ["+1415555267", "+12345678", "+999123456789", "+2101234567"])
def test_a_no_is_accepted_for_a_number_that_cannot_be_dialled_and_a_yes_is_not(text: str) -> None:
    assert not any(Address.parse(channel, text).can_consent for channel in BY_NUMBER)


@pytest.mark.parametrize("text", ["+14155552671", "+442079460000", "+390612345678"])
def test_a_number_that_can_be_dialled_can_consent(text: str) -> None:
    assert all(Address.parse(channel, text).can_consent for channel in BY_NUMBER)


# --- push ---


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("fcm:dGVzdA-_:APA91b", "fcm:dGVzdA-_:APA91b", id="a token with a colon"),
        pytest.param(
            "FCM:Token", "fcm:Token", id="the provider's case is folded, the token's kept"
        ),
        pytest.param(" apns:00FF \n", "apns:00FF", id="the end of a line"),
        pytest.param(
            "webpush:https://push.example/a?b=C",
            "webpush:https://push.example/a?b=C",
            id="web push",
        ),
        pytest.param("fcm:é", "fcm:é", id="a token is opaque: composed"),
        pytest.param("fcm:e\u0301", "fcm:e\u0301", id="... and decomposed are two"),
        pytest.param(f"fcm:{'x' * 2044}", f"fcm:{'x' * 2044}", id="2048 characters"),
    ],
)
def test_a_push_address_is_its_provider_and_its_token(text: str, key: str) -> None:
    assert push(text) == key
    assert Address.parse(PUSH, text).can_consent


@pytest.mark.parametrize(
    "text",
    [
        *["", "token", "fcm:", ":token", "fcm: token", "fcm:to ken", "f m:token", "é:token"],
        *["fcm:to\0ken", "fcm:\ud800", "fcm:a\u2028b", "fcm:a\ufffd"],
        *[f"{'f' * 33}:token", f"fcm:{'x' * 2045}"],
    ],
)
def test_what_cannot_be_a_push_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        push(text)


# --- digest ---

MASTER = bytes(range(32))
KEY = digest_key(MASTER, 1)


def test_the_digest_of_an_address_never_changes() -> None:
    """Every suppression ever kept is found by these bytes: if this fails, change the code back."""
    assert KEY.hex() == "b861bd9709ea253dbcf9bce55666dd6ddb1a9b216725b8ed30ab43121d9f21a2"
    assert {
        address: Address(channel, address).digest(KEY).hex()
        for channel, address in [
            (EMAIL, "alice@example.org"),
            (EMAIL, "rené@xn--bcher-kva.example"),
            (SMS, "+14155552671"),
            (PUSH, "fcm:Token"),
            (WHATSAPP, "+14155552672"),
            (RCS, "+14155552673"),
        ]
    } == {
        "alice@example.org": "b96e28d7a32d73f1feaed2f9d39eedf3",
        "rené@xn--bcher-kva.example": "9ea532e13ebbfe15ce026d915d572639",
        "+14155552671": "130ca725dfd76d30a73b391907fbc4d1",
        "fcm:Token": "81cc3d78560a7b1c957b20c69eed4e0a",
        "+14155552672": "89858cfa8d957cdbf6945cc026cf5674",
        "+14155552673": "36b0a3cc1433d1ab1086b91581698c35",
    }


def test_two_tenants_two_channels_and_two_masters_share_no_digest() -> None:
    keys = [digest_key(master, tenant) for master in (MASTER, bytes(32)) for tenant in (1, 2, 11)]
    digests = {Address(channel, "fcm:x").digest(key) for key in keys for channel in Channel}
    assert len(digests) == len(keys) * len(Channel)
    assert {len(digest) for digest in digests} == {16}


def test_a_key_too_short_to_keep_a_phone_number_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Address(SMS, "+14155552671").digest(b"")
    with pytest.raises(ValueError, match="16 bytes"):
        digest_key(bytes(15), 1)


# --- what a screen or a log may show ---


@pytest.mark.parametrize(
    ("channel", "text", "masked"),
    [
        (EMAIL, "alice@example.org", "a•••@e•••.org"),
        (EMAIL, "a@b", "a•••@b•••"),
        (SMS, "+14155552671", "+1•••••••71"),
        (WHATSAPP, "whatsapp:+14155552671", "+1•••••••71"),
        (RCS, "+14155552671", "+1•••••••71"),
        (PUSH, "fcm:token", "fcm:•••"),
    ],
)
def test_a_masked_address_is_known_to_its_owner_alone(
    channel: Channel, text: str, masked: str
) -> None:
    address = Address.parse(channel, text)
    assert address.masked == masked
    assert repr(address) == f"Address({channel}, {masked})"
    assert text not in f"{address} {[address]}"


# --- whatever the text ---

ODD = st.sampled_from(
    [
        *'@@.<>,;" %?-/+x',
        *"\u00a0\u200b\u200c\u200d\ufeff\x85\0\ud800\ufffd\u0301",
        *"\u212aİßſéü。．ａאا١ー－½²",
        *["mailto:", "mailto:", "%40", "xn--", "example.org", "a", "B"],
        *["+1", "(0)", "415", "5552671", "tel:", "sms:", "whatsapp:", "rcs:", "fcm:"],
    ]
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(ODD, max_size=12).map("".join),
    st.tuples(st.text(max_size=8), st.text(max_size=12)).map("@".join),
    st.lists(st.one_of(ODD, st.text(max_size=3)), max_size=10).map("".join),
)
REGIONS = st.sampled_from([None, "US", "IT", "MX", "AR", "JP", "gb", "ß", "", "XX"])


@ADDRESS
@given(st.sampled_from(Channel), TEXTS, REGIONS)
@example(EMAIL, "mailto:mailto%3Amailto%253Aa%252540b", None)
@example(EMAIL, "a@\u0345\u0313", None)
def test_a_parsed_address_parses_to_itself(channel: Channel, text: str, region: str | None) -> None:
    try:
        address = Address.parse(channel, text, region)
    except BadAddress:
        return
    assert Address.parse(channel, address.value) == address
    # Everything else that is asked of an address has an answer, too.
    assert address.can_consent in (True, False)
    assert len(address.digest(KEY)) == 16
    assert "•" in address.value or address.value not in f"{address.masked} {address!r}"


@ADDRESS
@given(TEXTS)
def test_composed_and_decomposed_spellings_are_one_address(text: str) -> None:
    def key(form: str) -> str | None:
        try:
            return email(form)
        except BadAddress:
            return None

    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assume("mailto" not in text.lower() and len(decomposed) < 200)
    assert key(composed) == key(decomposed)


@ADDRESS
@given(st.sampled_from(Channel), TEXTS, TEXTS, st.one_of(REGIONS, TEXTS))
def test_a_refusal_never_repeats_the_text(
    channel: Channel, before: str, after: str, region: str | None
) -> None:
    refused: BadAddress | None = None
    try:
        Address.parse(channel, f"{before}zq73{after}", region)
    except BadAddress as error:
        refused = error
    assume(refused is not None)
    assert refused is not None
    assert "zq73" not in str(refused).lower()
    assert refused.field in ("address", "region")


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("text", [None, 5, b"alice@example.org", ["alice@example.org"], {}])
def test_what_is_no_text_is_refused_as_well(channel: Channel, text: object) -> None:
    with pytest.raises(BadAddress, match="text"):
        Address.parse(channel, text)  # type: ignore[arg-type]


@ADDRESS
@given(
    st.text("abcXYZ019!#$%&'*+/=?^_`{|}~.-\u212a", min_size=1, max_size=70),
    st.lists(st.text("abcXYZ019", min_size=1, max_size=66), min_size=1, max_size=5),
    st.sampled_from([".", "-"]),
    st.sampled_from(["", " ", "\n", "\u00a0"]),
)
def test_the_fast_path_for_plain_email_and_the_slow_one_agree(
    local: str, labels: list[str], between: str, space: str
) -> None:
    text = f"{space}{local}@{between.join(labels)}{space}"
    assert email(text) == _any_email_key(text)


@ADDRESS
@given(
    st.sampled_from(sorted(BY_NUMBER)),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    st.sampled_from([None, "US", "IT"]),
)
def test_the_fast_path_for_e164_and_the_slow_one_agree(
    channel: Channel, text: str, region: str | None
) -> None:
    def key(text: str, region: str | None = None) -> str:
        return Address.parse(channel, text, region).value

    text = unicodedata.normalize("NFKC", text)
    assert key(text, region) == _any_number_key(channel, text, region)
    assert key(text) == text
    assert key(" ".join(text)) == text
    assert key(f"tel:{text}") == text
    assert key(f"{channel}:{text}") == text


@ADDRESS
@given(TEXTS, REGIONS)
def test_a_number_is_read_alike_on_each_channel(text: str, region: str | None) -> None:
    assume(not any(scheme in text.lower() for scheme in BY_NUMBER))
    found = set()
    for channel in BY_NUMBER:
        try:
            found.add(Address.parse(channel, text, region).value)
        except BadAddress as error:
            found.add(str(error))
    assert len(found) == 1


@given(
    st.one_of(
        st.emails().map(lambda text: text.encode().decode("ascii", "ignore")),
        st.builds(
            "{}@{}".format,
            st.text("ab.+-_'é ", max_size=40),
            st.text("ab.-é1", max_size=70),
        ),
        st.sampled_from(["test", "local", "invalid", "arpa", "1", "c", "xn--a"]).map(
            "a@b.{}".format
        ),
    )
)
@example("a..b@example.org")
@example(f"{'a' * 64}@{'b' * 60}.example")
@example(f"a@{'é' * 50}.example")
@example(f"{'a' * 64}@{'b' * 60}.{'b' * 60}.{'b' * 60}.example")
def test_an_address_judged_by_its_domain_is_judged_as_a_whole(text: str) -> None:
    try:
        address = Address.parse(Channel.EMAIL, text)
    except BadAddress:
        return
    assert address.can_consent == _is_valid_email(address.value)


@pytest.mark.parametrize(
    "text",
    [
        "'a@example.org'",
        '"a@example.org"',
        "“a@example.org”",
        "(a@example.org)",
        "[a@example.org]",
        "<a@example.org",
        "a@example.org>",
        "a@example.org (work)",
        "Email: a@example.org",
        "SMTP:a@example.org",
        "a@example.org?subject=x",
        "a@example.org!",
        "a@example.org:",
        "a\u034f\ufe0f\u115f\u3164@example.org",
    ],
)
def test_what_lists_and_people_put_around_an_address_is_not_part_of_it(text: str) -> None:
    assert email(text) == "a@example.org"


@pytest.mark.parametrize(
    "text",
    ["a@@example.org", "a@b@example.org", "a@example.org|b@example.org", "a@x.org/b@x.org"]
    + ["[a@example.org](mailto:a@example.org)", f"a@{'x.' * 130}org"],
)
def test_what_holds_several_addresses_or_none_is_refused_and_not_kept_as_an_odd_one(
    text: str,
) -> None:
    with pytest.raises(BadAddress):
        email(text)
