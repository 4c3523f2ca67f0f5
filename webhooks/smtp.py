"""Email, to a mail server that takes it from us (RFC 5321, RFC 6409)."""

import smtplib
import ssl
import time
from contextlib import suppress
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any

from prefs.letters import PerhapsSent, Written
from prefs.policy import Millis
from prefs.settings import Smtp

SECONDS = 10
"""To wait for each answer of the server."""

ALL_TOGETHER = 90
"""Seconds for a whole letter. A claim's lease outlasts them, and one step that began in them."""


def compose(
    written: Written,
    *,
    sender: str,
    name: str,
    to: str,
    language: str,
    identity: str,
    now: Millis,
) -> EmailMessage:
    """The message. ``identity`` is the letter's own, so that a mailbox which gets one twice
    can tell."""
    own_name, address = parseaddr(sender)
    local, _, domain = address.rpartition("@")
    mailbox, _, host = to.rpartition("@")
    message = EmailMessage()
    message["From"] = Mailbox(own_name or " ".join(name.split()), local, domain)
    message["To"] = Mailbox("", mailbox, host)
    message["Subject"] = written.subject
    message["Date"] = formatdate(now / 1000)
    message["Message-ID"] = f"<{identity}@{domain}>"
    # RFC 3834 section 5: so that no holiday answer comes back.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(written.text)
    # After the content, which takes every header of a content before it away.
    message["Content-Language"] = language
    return message


def send(smtp: Smtp, message: EmailMessage, sender: str, to: str) -> bool:
    """Whether the server took the message; False if it never will.

    Raises ``OSError`` (``SMTPException`` is one) where it may take it another time, and
    ``PerhapsSent`` where it was given the message and never answered.
    """
    address = parseaddr(sender)[1]
    server = _connected(smtp, address.rpartition("@")[2])
    try:
        if not smtp.tls and not smtp.is_here:
            # Raises where the server offers none: whoever sits on the way could have hidden it.
            server.starttls(context=ssl.create_default_context())
        if smtp.user:
            server.login(smtp.user, smtp.password)
        server.send_message(message, address, [to])
    except smtplib.SMTPRecipientsRefused as refused:
        server.close()
        codes = [code for code, _ in refused.recipients.values()]
        if not codes or min(codes) < 500:
            raise
        return False
    except smtplib.SMTPDataError as refused:
        server.close()
        if refused.smtp_code < 500:
            raise
        return False
    except BaseException:
        server.close()
        raise
    with suppress(smtplib.SMTPException, OSError):
        # It has the message by now, whatever it says to this.
        server.quit()
    return True


class _Patient(smtplib.SMTP):
    """Waits for each answer, and for all together, so long and no longer."""

    def __init__(self, host: str, port: int, name: str, **rest: Any) -> None:
        self._until = time.monotonic() + ALL_TOGETHER
        self._code = 0
        super().__init__(host, port, name, timeout=SECONDS, **rest)

    def getreply(self) -> tuple[int, bytes]:
        left = self._until - time.monotonic()
        if left <= 0:
            self.close()
            raise smtplib.SMTPServerDisconnected("it takes too long")
        if self.sock:
            self.sock.settimeout(min(SECONDS, left))
        self._code, told = super().getreply()
        return self._code, told

    def data(self, msg: Any) -> tuple[int, bytes]:
        try:
            return super().data(msg)
        except smtplib.SMTPServerDisconnected:
            if self._code == 354:
                # It had asked for the message (RFC 5321 section 4.2.3), and has got it or most.
                raise PerhapsSent from None
            raise


class _PatientOverTls(_Patient, smtplib.SMTP_SSL):
    pass


def _connected(smtp: Smtp, name: str) -> smtplib.SMTP:
    if smtp.tls:
        context = ssl.create_default_context()
        return _PatientOverTls(smtp.host, smtp.port, name, context=context)
    return _Patient(smtp.host, smtp.port, name)
