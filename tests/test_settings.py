"""A start with settings that are unclear, weak or missing is no start, and says what to mend."""

import multiprocessing
import stat
from pathlib import Path

import pytest

from prefs.settings import (
    MEGABYTE,
    BadSetting,
    Settings,
    create_secrets,
    data_folder,
    keep_token,
    token_file,
)

STRONG = "00112233445566778899aabbccddeeff" * 2
OTHER = "ffeeddccbbaa99887766554433221100" * 2
SECRETS = ("PREFS_DIGEST_KEY", "PREFS_SIGNING_KEYS")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    create_secrets(folder)
    return folder


def load(data: Path, **environ: str) -> Settings:
    return Settings.load({"PREFS_DATA": str(data), **environ})


def refusal(data: Path, **environ: str) -> str:
    with pytest.raises(BadSetting) as refused:
        load(data, **environ)
    return str(refused.value)


# --- what is there without being told ---


def test_it_starts_without_a_single_setting_once_its_secrets_are_made(data: Path) -> None:
    settings = load(data)
    assert settings.database_url == f"sqlite:///{data / 'prefs.sqlite3'}"
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.body_limit == 10 * MEGABYTE
    assert settings.worker_header is False
    assert settings.snapshot.parent == data
    assert len(settings.digest_master) == 32
    assert [len(key) for key in settings.signing_keys] == [32]
    assert settings.digest_master != settings.signing_keys[0]


def test_an_empty_setting_is_as_good_as_none(data: Path) -> None:
    names = ("PREFS_DATABASE_URL", "PREFS_PUBLIC_URL", "PREFS_BODY_LIMIT", "PREFS_WORKER_HEADER")
    assert load(data, **dict.fromkeys((*names, *SECRETS), " ")) == load(data)


def test_the_data_folder_is_one_folder_whatever_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = data_folder({"PREFS_DATA": "here"})
    assert folder == tmp_path / "here"
    assert data_folder({}) == data_folder({"PREFS_DATA": ""})
    assert data_folder({}).name == "var"


# --- secrets ---


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("0" * 64, "too weak"),
        ("01" * 32, "too weak"),
        ("ab" * 64, "too weak"),
        (STRONG[:62], "too weak"),
        (STRONG[:16], "too weak"),
        ("secret", "hexadecimal"),
        ("changeme" * 8, "hexadecimal"),
        (STRONG[:63], "hexadecimal"),
        (STRONG[:62] + "zz", "hexadecimal"),
        (STRONG[:62] + "٠٠", "hexadecimal"),
    ],
)
def test_a_secret_that_is_short_weak_or_not_hexadecimal_is_refused_and_never_repeated(
    data: Path, name: str, secret: str, told: str
) -> None:
    message = refusal(data, **{name: secret})
    assert name in message
    assert told in message
    assert secret not in message


@pytest.mark.parametrize(
    ("file", "told"), [("digest.key", "its copy"), ("signing.keys", "its copy")]
)
def test_a_secret_that_is_missing_is_refused_and_never_made_up(
    data: Path, file: str, told: str
) -> None:
    """A secret per process would make workers disagree, and a new one forget every no."""
    path = data / "secrets" / file
    path.unlink()
    message = refusal(data)
    assert str(path) in message
    assert "its copy" in message
    assert not path.exists()


@pytest.mark.parametrize("file", ["digest.key", "signing.keys"])
@pytest.mark.parametrize("text", [b"", b"\n", b"0" * 64, b"\xff\xfe", STRONG[:60].encode()])
def test_a_secret_file_that_is_empty_weak_or_no_text_is_refused(
    data: Path, file: str, text: bytes
) -> None:
    (data / "secrets" / file).write_bytes(text)
    refusal(data)


@pytest.mark.parametrize("file", ["digest.key", "signing.keys"])
def test_a_folder_in_a_secrets_place_is_refused(data: Path, file: str) -> None:
    path = data / "secrets" / file
    path.unlink()
    path.mkdir()
    assert "cannot be read" in refusal(data)


def test_secrets_of_the_environment_stand_before_those_of_the_files(data: Path) -> None:
    settings = load(data, PREFS_DIGEST_KEY=STRONG, PREFS_SIGNING_KEYS=f"{STRONG}, {OTHER}")
    assert settings.digest_master == bytes.fromhex(STRONG)
    assert settings.signing_keys == (bytes.fromhex(STRONG), bytes.fromhex(OTHER))


@pytest.mark.parametrize("between", [",", " ", "\n", ", ", "\r\n"])
def test_signing_keys_stand_in_order_the_newest_last(data: Path, between: str) -> None:
    (data / "secrets" / "signing.keys").write_text(f"{STRONG}{between}{OTHER}\n")
    assert load(data).signing_keys == (bytes.fromhex(STRONG), bytes.fromhex(OTHER))


def test_one_weak_signing_key_among_strong_ones_is_refused(data: Path) -> None:
    assert "too weak" in refusal(data, PREFS_SIGNING_KEYS=f"{STRONG},{'00' * 32}")
    assert "holds no key" in refusal(data, PREFS_SIGNING_KEYS=",")
    assert "255" in refusal(data, PREFS_SIGNING_KEYS=",".join([STRONG] * 256))


def test_no_secret_is_shown_when_settings_are_printed(data: Path) -> None:
    settings = load(data, PREFS_DIGEST_KEY=STRONG, PREFS_SIGNING_KEYS=OTHER)
    for secret in (settings.digest_master, settings.signing_keys[0]):
        assert repr(secret) not in repr(settings)
        assert secret.hex() not in repr(settings)


# --- NAME_FILE ---


@pytest.mark.parametrize("name", [*SECRETS, "PREFS_DATABASE_URL", "PREFS_PUBLIC_URL"])
def test_a_setting_may_stand_in_a_file(data: Path, tmp_path: Path, name: str) -> None:
    text = STRONG if name in SECRETS else "https://prefs.example.com"
    if name == "PREFS_DATABASE_URL":
        text = "postgresql+psycopg://host/prefs"
    file = tmp_path / "setting"
    file.write_text(f"{text}\n")
    assert load(data, **{f"{name}_FILE": str(file)}) == load(data, **{name: text})


@pytest.mark.parametrize("name", [*SECRETS, "PREFS_DATABASE_URL", "PREFS_PUBLIC_URL"])
@pytest.mark.parametrize("text", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_that_is_missing_empty_or_no_text_is_refused(
    data: Path, tmp_path: Path, name: str, text: bytes | None
) -> None:
    """The default in its place would be another database, in which nobody has said no."""
    file = tmp_path / "setting"
    if text is not None:
        file.write_bytes(text)
    assert f"{name}_FILE" in refusal(data, **{f"{name}_FILE": str(file)})


# --- switches, numbers ---


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", True), ("true", True), ("TRUE", True), ("0", False), ("false", False), ("", False)],
)
def test_a_switch_is_on_or_off(data: Path, text: str, meant: bool) -> None:
    assert load(data, PREFS_WORKER_HEADER=text).worker_header is meant


@pytest.mark.parametrize("text", ["maybe", "yes", "on", "2", "-1", "tru", "1 1", "none"])
def test_an_unclear_switch_is_refused(data: Path, text: str) -> None:
    assert "PREFS_WORKER_HEADER is 1 or 0" in refusal(data, PREFS_WORKER_HEADER=text)


@pytest.mark.parametrize(
    "text", ["0", "999", "-1", "1e6", "1_000_000", "10MB", "0x1000", "1.5", "٥٠٠٠", "many"]
)
def test_an_unclear_or_tiny_number_is_refused(data: Path, text: str) -> None:
    assert "PREFS_BODY_LIMIT is a whole number" in refusal(data, PREFS_BODY_LIMIT=text)


def test_a_number_is_taken_as_it_stands(data: Path) -> None:
    assert load(data, PREFS_BODY_LIMIT=" 5000 ").body_limit == 5000


# --- the public URL ---


@pytest.mark.parametrize(
    "url",
    [
        "https://prefs.example.com",
        "https://prefs.example.com:8443/mail",
        "http://127.0.0.1:8000",
        "http://localhost:9000",
        "http://[::1]:8000",
    ],
)
def test_links_lead_to_https_or_to_this_machine(data: Path, url: str) -> None:
    assert load(data, PREFS_PUBLIC_URL=url).public_url == url
    assert load(data, PREFS_PUBLIC_URL=f"{url}/").public_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://prefs.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost@example.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "javascript:alert(1)",
        "prefs.example.com",
        "//prefs.example.com",
        "https://",
        "https:///u",
        "https://user:secret@prefs.example.com",
        "https://prefs.example.com?x=1",
        "https://prefs.example.com/#x",
        "https://[::1",
    ],
)
def test_any_other_public_url_is_refused(data: Path, url: str) -> None:
    message = refusal(data, PREFS_PUBLIC_URL=url)
    assert "PREFS_PUBLIC_URL" in message
    assert "secret" not in message


# --- the database ---


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgres://host/prefs", "postgresql+psycopg://host/prefs"),
        ("postgresql://user@host:5433/prefs", "postgresql+psycopg://user@host:5433/prefs"),
        ("postgresql+psycopg://host/prefs", "postgresql+psycopg://host/prefs"),
        ("sqlite:////srv/prefs.sqlite3", "sqlite:////srv/prefs.sqlite3"),
        ("sqlite:///prefs.sqlite3", "sqlite:///prefs.sqlite3"),
    ],
)
def test_the_database_is_an_sqlite_file_or_postgresql(data: Path, url: str, meant: str) -> None:
    assert load(data, PREFS_DATABASE_URL=url).database_url == meant


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:prefs.sqlite3",
        "sqlite://host/prefs",
        "mysql://host/prefs",
        "postgresql+asyncpg://host/prefs",
        "prefs.sqlite3",
        "/srv/prefs.sqlite3",
        "redis://user:secret@host",
    ],
)
def test_any_other_database_is_refused(data: Path, url: str) -> None:
    message = refusal(data, PREFS_DATABASE_URL=url)
    assert "PREFS_DATABASE_URL" in message
    assert "secret@" not in message


# --- the secrets' files ---


def test_secrets_are_for_their_owner_alone(data: Path) -> None:
    folder = data / "secrets"
    keep_token(data, "twilio", "AC1", "token")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
        "digest.key": 0o600,
        "signing.keys": 0o600,
        "twilio.tokens": 0o600,
    }


def test_secrets_that_are_there_are_left_as_they_are_and_their_folder_is_closed(
    data: Path,
) -> None:
    folder = data / "secrets"
    folder.chmod(0o755)
    before = load(data)
    create_secrets(data)
    assert load(data) == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _created(data: str) -> tuple[bytes, tuple[bytes, ...]]:
    create_secrets(Path(data))
    settings = Settings.load({"PREFS_DATA": data})
    return settings.digest_master, settings.signing_keys


def test_several_processes_that_make_the_secrets_at_once_agree(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        found = processes.map(_created, [str(folder)] * 16, chunksize=1)
    assert len(set(found)) == 1
    names = sorted(file.name for file in (folder / "secrets").iterdir())
    assert names == ["digest.key", "signing.keys"]


# --- providers' tokens ---


def test_a_new_token_stands_beside_the_one_before_it(data: Path) -> None:
    settings = load(data)
    assert settings.provider_tokens("twilio", "AC1") == ()
    keep_token(data, "twilio", "AC1", "first")
    keep_token(data, "twilio", "AC2", "another")
    assert settings.provider_tokens("twilio", "AC1") == ("first",)
    keep_token(data, "twilio", "AC1", "second")
    assert settings.provider_tokens("twilio", "AC1") == ("second", "first")
    keep_token(data, "twilio", "AC1", "third")
    assert settings.provider_tokens("twilio", "AC1") == ("third", "second")
    assert settings.provider_tokens("twilio", "AC2") == ("another",)
    assert settings.provider_tokens("twilio", "AC") == ()
    assert settings.provider_tokens("sendgrid", "AC1") == ()


def test_the_same_token_again_pushes_none_out(data: Path) -> None:
    for token in ("first", "second", "second"):
        keep_token(data, "twilio", "AC1", token)
    assert load(data).provider_tokens("twilio", "AC1") == ("second", "first")
    keep_token(data, "twilio", "AC1", "first")
    assert load(data).provider_tokens("twilio", "AC1") == ("first", "second")


@pytest.mark.parametrize(
    "token", ["", " ", "two words", "line\nAC9 theirs", "caf\u00e9", "a\u00a0"]
)
def test_a_token_that_would_spoil_the_file_is_refused_and_never_repeated(
    data: Path, token: str
) -> None:
    keep_token(data, "twilio", "AC1", "first")
    with pytest.raises(BadSetting) as refused:
        keep_token(data, "twilio", "AC1", token)
    assert not token.strip() or token not in str(refused.value)
    assert load(data).provider_tokens("twilio", "AC1") == ("first",)


@pytest.mark.parametrize("text", [b"\xff", b"\n\n", b"AC1\n", b""])
def test_a_token_file_that_cannot_be_read_lets_nobody_in(data: Path, text: bytes) -> None:
    token_file(data, "twilio").write_bytes(text)
    assert load(data).provider_tokens("twilio", "AC1") == ()


def test_a_mail_domain_is_a_domain_and_nothing_around_it(data: Path) -> None:
    assert load(data).mail_domain == ""
    assert load(data, PREFS_MAIL_DOMAIN="Leave.Example.com").mail_domain == "leave.example.com"
    for wrong in (
        *("example", "@example.com", "a@example.com", "mailto:example.com", "example.com."),
        *("-a.example.com", "bücher.example", "192.0.2.1", "a b.example", "https://a.example"),
        *("a..example", "a.example,b.example", "a" * 64 + ".example", "a." * 110 + "example"),
    ):
        assert "PREFS_MAIL_DOMAIN is a domain" in refusal(data, PREFS_MAIL_DOMAIN=wrong), wrong


@pytest.mark.parametrize(
    ("url", "ending"),
    [
        ("https://prefs.example.com", "prefs.example.com"),
        ("https://Prefs.Example.com:8443/below", "prefs.example.com"),
        ("http://127.0.0.1:8000", "localhost"),
        ("http://localhost:8000", "localhost"),
        ("https://[2001:db8::1]", "localhost"),
        ("https://192.0.2.7", "localhost"),
        ("https://intranet", "localhost"),
    ],
)
def test_a_list_is_named_by_the_public_host_where_that_is_a_name(
    data: Path, url: str, ending: str
) -> None:
    assert load(data, PREFS_PUBLIC_URL=url).list_domain == ending
