"""Channels: Slack, e-mail, Amazon SNS and any HTTP service that takes JSON.

Each sends one message and raises `ChannelError` where it could not; whether to try again is the outbox's to say. A
channel's address is a secret (whoever has a Slack webhook can post): it appears in no error and no log.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import requests

from smartdrive_dagster.alerting.message import Message
from smartdrive_dagster.settings import Settings

_TIMEOUT_S: Final = 10.0
_SNS_SUBJECT_LENGTH: Final = 100
_COLOURS: Final = {"info": "#3b82f6", "warning": "#f59e0b", "critical": "#dc2626"}


class ChannelError(Exception):
    """A message could not be handed over; the text says why, without the channel's address."""


class Channel(Protocol):
    """Carries messages to people."""

    @property
    def name(self) -> str:
        """How the outbox and the command line call it."""
        ...

    def send(self, message: Message) -> None:
        """Hand a message over.

        Raises:
            ChannelError: it was not taken.
        """
        ...


@dataclass(frozen=True)
class Slack:
    """An incoming webhook of Slack (or of a service that takes the same JSON)."""

    url: str = field(repr=False)
    name: str = "slack"

    def send(self, message: Message) -> None:
        """Post text with the severity's colour."""
        attachment = {"color": _COLOURS[message.severity], "text": message.body, "fallback": message.subject}
        _post(self.url, {"text": message.subject, "attachments": [attachment]})


@dataclass(frozen=True)
class Webhook:
    """Any HTTP service: one POST of JSON with the message and its notices."""

    url: str = field(repr=False)
    name: str = "webhook"

    def send(self, message: Message) -> None:
        """Post the message with all that is known of each notice."""
        notices = [
            {
                "episode_id": notice.episode_id,
                "severity": notice.severity,
                "title": notice.title,
                "text": notice.text,
                "opened_at": notice.opened_at.isoformat(),
            }
            for notice in message.notices
        ]
        _post(
            self.url,
            {
                "severity": message.severity,
                "subject": message.subject,
                "body": message.body,
                "notices": notices,
            },
        )


@dataclass(frozen=True)
class Email:
    """A mail server: ``smtp://`` with STARTTLS (required unless ``?tls=off``), or ``smtps://``.

    Args:
        url: ``smtp[s]://[user:password@]host[:port]``, percent-encoded.
        sender: the From address.
        recipients: the To addresses.
    """

    url: str = field(repr=False)
    sender: str
    recipients: tuple[str, ...]
    name: str = "email"

    def send(self, message: Message) -> None:
        """Send one plain-text mail to all recipients."""
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail.set_content(message.body)
        try:
            with self._connection() as server:
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelError(f"mail server: {type(error).__name__}") from error

    def _connection(self) -> smtplib.SMTP:
        parts = urlsplit(self.url)
        host, context = parts.hostname or "", ssl.create_default_context()
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=_TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=_TIMEOUT_S)
        try:
            if parts.scheme == "smtp" and parse_qs(parts.query).get("tls") != ["off"]:
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


@dataclass(frozen=True)
class Sns:
    """A topic of Amazon SNS, reached as the usual ``AWS_…`` variables say."""

    topic_arn: str
    name: str = "sns"

    def send(self, message: Message) -> None:
        """Publish; a subject longer than SNS allows is cut, the body holds all."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        try:
            boto3.client("sns", config=config, region_name=self.topic_arn.split(":")[3] or None).publish(
                TopicArn=self.topic_arn,
                Subject=message.subject.encode("ascii", "replace").decode()[:_SNS_SUBJECT_LENGTH],
                Message=f"{message.subject}\n\n{message.body}",
            )
        except (BotoCoreError, ClientError) as error:
            raise ChannelError(f"SNS: {_code(error)}") from error


def channels(settings: Settings) -> list[Channel]:
    """The channels that the settings name."""
    found: list[Channel] = []
    if settings.slack_webhook:
        found.append(Slack(settings.slack_webhook.get_secret_value()))
    if settings.smtp_url:
        found.append(
            Email(settings.smtp_url.get_secret_value(), settings.email_sender, tuple(settings.email_recipients))
        )
    if settings.sns_topic_arn:
        found.append(Sns(settings.sns_topic_arn))
    if settings.webhook_url:
        found.append(Webhook(settings.webhook_url.get_secret_value()))
    return found


def _post(url: str, body: Mapping[str, Any]) -> None:
    try:
        answer = requests.post(url, json=body, timeout=_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:  # its own words hold the address
        raise ChannelError(f"HTTP: {type(error).__name__}") from None
    if not answer.ok or answer.is_redirect:
        raise ChannelError(f"HTTP: answered {answer.status_code}")


def _code(error: Exception) -> str:
    response: Mapping[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", type(error).__name__))
