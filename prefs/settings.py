"""The environment, read once into one frozen object. Nobody else reads ``os.environ``."""

import base64
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent

MEGABYTE = 1_000_000


class BadSetting(ValueError):
    """A setting that is unclear, weak or missing. The message names it and the mend."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server that takes our letters. ``tls`` from the first byte, or else by STARTTLS."""

    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's, to which nobody listens on the way."""
        return self.host in _HERE


_HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the installation was told.

    ``digest_master`` and ``signing_keys`` never leave the process; the newest
    signing key is the last one and signs, all of them verify.
    """

    data: Path
    database_url: str
    public_url: str
    mail_domain: str
    body_limit: int
    proxies: int
    worker_header: bool
    preview: bool
    smtp: Smtp | None
    twilio_api: str
    telnyx_api: str
    digest_master: bytes = field(repr=False)
    signing_keys: tuple[bytes, ...] = field(repr=False)

    @property
    def snapshot(self) -> Path:
        """Where workers keep the last directory they read, for a start without a database."""
        return self.data / "directory.json"

    @property
    def list_domain(self) -> str:
        """What a List-Id ends with: the public host, or RFC 2919's name for having none."""
        host = urlsplit(self.public_url).hostname or ""
        return host if _DOMAIN.fullmatch(host) else "localhost"

    def provider_tokens(self, provider: str, account: str) -> tuple[str, ...]:
        """The tokens with which a provider's account signs, two of them during a rotation.

        Read from the file each time, so that a new token is in force at once.
        """
        try:
            return tuple(_tokens(self.data, provider).get(account, ()))
        except FileNotFoundError:
            return ()

    def sending_tokens(self, provider: str, account: str) -> tuple[str, ...]:
        """The tokens with which we may send by a provider's account, the newest first."""
        return self.provider_tokens(SENDING_TOKENS.get(provider, provider), account)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads the environment and the secret files. Raises ``BadSetting``."""
        data = data_folder(environ)
        return cls(
            data=data,
            database_url=database_url(environ),
            public_url=_public_url(environ),
            mail_domain=_mail_domain(environ),
            body_limit=_number(environ, "PREFS_BODY_LIMIT", 10 * MEGABYTE, low=1_000),
            proxies=_number(environ, "PREFS_PROXIES", 0, low=0),
            worker_header=_switch(environ, "PREFS_WORKER_HEADER"),
            preview=_switch(environ, "PREFS_PREVIEW"),
            smtp=_smtp(environ),
            twilio_api=_api(environ, "PREFS_TWILIO_API"),
            telnyx_api=_api(environ, "PREFS_TELNYX_API"),
            digest_master=_digest_master(environ, data),
            signing_keys=_signing_keys(environ, data),
        )


def data_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("PREFS_DATA") or ROOT / "var").absolute()


SENDING_TOKENS: Mapping[str, str] = {"telnyx": "telnyx-api"}
"""Providers that check who sends by another secret than they sign with, and where it is kept."""


def token_file(data: Path, provider: str) -> Path:
    """The file of a provider's tokens: one account a line, ``account token [older token]``."""
    return data / "secrets" / f"{provider}.tokens"


def _tokens(data: Path, provider: str) -> dict[str, list[str]]:
    # One line that is not ASCII must not shut out every account.
    text = token_file(data, provider).read_text(encoding="ascii", errors="replace")
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}


def keep_token(data: Path, provider: str, account: str, token: str) -> None:
    """Makes ``token`` the account's newest; the one before goes on verifying beside it."""
    if not re.fullmatch(r"[!-~]+", token) or not re.fullmatch(r"[!-~]+", account):
        # The file is split at its spaces, and one line that is not ASCII would close the door
        # to every account's STOPs.
        raise BadSetting("a provider's account and token are printable ASCII without spaces")
    if provider == "telnyx" and not _is_public_key(token):
        raise BadSetting(
            "a Telnyx account signs with the public key that its portal shows, 32 bytes in base64; "
            "its API key is taken with --for-sending"
        )
    path = token_file(data, provider)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = _tokens(data, provider) if path.exists() else {}
    older = [kept for kept in held.get(account, []) if kept != token]
    held[account] = [token, *older[:1]]
    text = "".join(f"{name} {' '.join(tokens)}\n" for name, tokens in held.items())
    write_private(path, text)


def _is_public_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def write_private(path: Path, text: str) -> None:
    """Writes a file that its owner alone can read, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def has_secrets(data: Path) -> bool:
    """Whether an installation has begun in this folder."""
    return (data / "secrets" / "digest.key").exists()


def create_secrets(data: Path) -> None:
    """Makes the data folder and the secrets that are not there yet, for the owner alone.

    Safe to call from several processes at once: the first file to be linked into
    place is everybody's.
    """
    folder = data / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in ("digest.key", "signing.keys"):
        target = folder / name
        if target.exists():
            continue
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, target)
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def _text(environ: Mapping[str, str], name: str) -> str:
    """A variable, or the contents of the file that ``NAME_FILE`` names."""
    if path := environ.get(f"{name}_FILE"):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"{name}_FILE names a file that cannot be read") from error
        if not text:
            # The default would be another database, or another secret, than the one meant.
            raise BadSetting(f"{name}_FILE names an empty file")
        return text
    return environ.get(name, "").strip()


def _secret(name: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise BadSetting(f"{name} must be hexadecimal digits") from error
    if len(key) < 32 or len(set(key)) < 8:
        raise BadSetting(
            f"{name} is too weak: 32 random bytes in hexadecimal (openssl rand -hex 32)"
        )
    return key


def _secret_file(data: Path, name: str) -> str:
    path = data / "secrets" / name
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise BadSetting(
            f"{path} is missing: restore it from its copy, or copy it from another host. (A new "
            "and empty database gets new secrets from `prefs migrate`.)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read by this user") from error


def _digest_master(environ: Mapping[str, str], data: Path) -> bytes:
    text = _text(environ, "PREFS_DIGEST_KEY") or _secret_file(data, "digest.key").strip()
    return _secret("PREFS_DIGEST_KEY", text)


def _signing_keys(environ: Mapping[str, str], data: Path) -> tuple[bytes, ...]:
    text = _text(environ, "PREFS_SIGNING_KEYS") or _secret_file(data, "signing.keys")
    keys = tuple(_secret("PREFS_SIGNING_KEYS", key) for key in text.replace(",", " ").split())
    if not keys:
        raise BadSetting("PREFS_SIGNING_KEYS holds no key")
    if len(keys) > 255:
        raise BadSetting("PREFS_SIGNING_KEYS holds more than 255 keys")
    return keys


def database_url(environ: Mapping[str, str]) -> str:
    """The database's URL, known without any secret. Raises ``BadSetting``."""
    data = data_folder(environ)
    url = _text(environ, "PREFS_DATABASE_URL")
    if not url:
        return f"sqlite:///{data / 'prefs.sqlite3'}"
    scheme = url.split(":", 1)[0]
    if scheme in ("postgres", "postgresql"):
        return "postgresql+psycopg" + url.removeprefix(scheme)
    if scheme not in ("sqlite", "postgresql+psycopg"):
        raise BadSetting("PREFS_DATABASE_URL begins with sqlite:/// or postgresql://")
    if scheme == "sqlite" and (
        ":memory:" in url or not url.removeprefix("sqlite:///").strip("/") or "///" not in url
    ):
        raise BadSetting(
            "PREFS_DATABASE_URL names a file (sqlite:////folder/prefs.sqlite3): "
            "a database in memory keeps nothing"
        )
    return url


def _public_url(environ: Mapping[str, str]) -> str:
    url = (_text(environ, "PREFS_PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadSetting("PREFS_PUBLIC_URL is not an address") from error
    local = parts.hostname in _HERE
    # RFC 8058 section 3.1: the URI of a one-click link is https.
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise BadSetting("PREFS_PUBLIC_URL is an https:// address (http:// for this machine alone)")
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise BadSetting("PREFS_PUBLIC_URL is scheme, host and perhaps a path, nothing more")
    return url


_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")


def _mail_domain(environ: Mapping[str, str]) -> str:
    domain = _text(environ, "PREFS_MAIL_DOMAIN").lower()
    # RFC 5321 section 4.5.3.1.3 leaves an address 254 octets.
    if domain and (not _DOMAIN.fullmatch(domain) or len(domain) > 200):
        raise BadSetting(
            "PREFS_MAIL_DOMAIN is a domain such as leave.example.com (xn--… for one that is not "
            "ASCII), or left out"
        )
    return domain


def _smtp(environ: Mapping[str, str]) -> Smtp | None:
    url = _text(environ, "PREFS_SMTP_URL")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadSetting("PREFS_SMTP_URL is not an address") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise BadSetting("PREFS_SMTP_URL is smtp://user:password@host:587, or smtps://…")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise BadSetting(
            "PREFS_SMTP_URL is scheme, user, password, host and port, nothing more; write / ? # "
            "and @ in a password as %2F %3F %23 and %40"
        )
    tls = parts.scheme == "smtps"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise BadSetting("PREFS_SMTP_URL names a user and a password, or neither")
    return Smtp(parts.hostname, port or (465 if tls else 587), tls, user, password)


def _api(environ: Mapping[str, str], name: str) -> str:
    url = _text(environ, name).rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadSetting(f"{name} is not an address") from None
    here = parts.scheme == "http" and parts.hostname in _HERE
    if not parts.hostname or (parts.scheme != "https" and not here):
        raise BadSetting(f"{name} is an https:// address (http:// for this machine alone)")
    if parts.username or parts.query or parts.fragment:
        raise BadSetting(f"{name} is scheme and host, nothing more")
    return url


def _number(environ: Mapping[str, str], name: str, default: int, low: int) -> int:
    text = _text(environ, name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < low:
        raise BadSetting(f"{name} is a whole number of at least {low}")
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = _text(environ, name).lower()
    if text not in ("", "0", "1", "true", "false"):
        raise BadSetting(f"{name} is 1 or 0")
    return text in ("1", "true")
