"""Channels against servers that really take what they send."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from smartdrive_dagster.alerting.channels import ChannelError, Email, Slack, Sns, Webhook, channels
from smartdrive_dagster.alerting.message import message_of
from smartdrive_dagster.settings import Settings
from tests.alerting.conftest import NOW, HttpSink, MailSink, notice


def test_slack_gets_the_title_and_the_text_with_the_severitys_colour(http_sink: HttpSink) -> None:
    Slack(http_sink.url).send(message_of([notice(severity="critical")]))
    (body,) = http_sink.bodies
    assert body["text"] == "[critical] Battery of the van (e1)"
    assert body["attachments"][0]["color"] == "#dc2626"
    assert "Below 70 % health." in body["attachments"][0]["text"]


def test_a_webhook_gets_all_that_is_known_of_each_notice(http_sink: HttpSink) -> None:
    Webhook(http_sink.url).send(message_of([notice("e1"), notice("e2", severity="critical")]))
    (body,) = http_sink.bodies
    assert body["subject"] == "[critical] 2 alerts"
    assert [entry["episode_id"] for entry in body["notices"]] == ["e2", "e1"]
    assert body["notices"][0]["opened_at"] == (NOW - timedelta(hours=1)).isoformat()


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_an_error_without_the_address(http_sink: HttpSink, status: int) -> None:
    http_sink.status = status
    with pytest.raises(ChannelError, match=f"answered {status}") as error:
        Webhook(http_sink.url).send(message_of([notice()]))
    assert "secret-token" not in str(error.value)


def test_a_server_that_is_not_there_is_an_error_without_the_address(http_sink: HttpSink) -> None:
    http_sink.close()
    try:
        with pytest.raises(ChannelError, match="ConnectionError") as error:
            Slack(http_sink.url).send(message_of([notice()]))
        assert "secret-token" not in f"{error.value!r}{error.value.__cause__!r}"
    finally:
        http_sink.__init__()  # type: ignore[misc] # the fixture closes it


def test_mail_goes_to_all_recipients_after_a_login(mail_sink: MailSink) -> None:
    url = f"smtp://us%40er:pass%20word@127.0.0.1:{mail_sink.port}?tls=off"
    Email(url, "smartdrive@home.example", ("owner@home.example", "fleet@home.example")).send(
        message_of([notice()])
    )
    (mail,) = mail_sink.mails
    assert mail_sink.recipients == [["owner@home.example", "fleet@home.example"]]
    assert mail["Subject"] == "[warning] Battery of the van (e1)"
    assert "Since 2025-12-01 07:00 UTC" in mail.get_content()


def test_mail_never_sends_a_password_without_tls_unless_told_to(mail_sink: MailSink) -> None:
    url = f"smtp://us%40er:pass%20word@127.0.0.1:{mail_sink.port}"
    with pytest.raises(ChannelError, match="SMTPNotSupportedError"):
        Email(url, "smartdrive@home.example", ("owner@home.example",)).send(message_of([notice()]))
    assert mail_sink.mails == []


def test_a_wrong_password_is_an_error_that_does_not_tell_it(mail_sink: MailSink) -> None:
    url = f"smtp://us%40er:wrong@127.0.0.1:{mail_sink.port}?tls=off"
    with pytest.raises(ChannelError, match="SMTPAuthenticationError") as error:
        Email(url, "smartdrive@home.example", ("owner@home.example",)).send(message_of([notice()]))
    assert "wrong" not in str(error.value)


@pytest.mark.usefixtures("s3_endpoint")
def test_sns_publishes_to_its_topic() -> None:
    import boto3

    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    Sns(topic).send(message_of([notice()]))
    (held,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(held["Body"])
    assert body["Subject"] == "[warning] Battery of the van (e1)"
    assert "Below 70 % health." in body["Message"]
    with pytest.raises(ChannelError, match="NotFound"):
        Sns(f"{topic}-gone").send(message_of([notice()]))


def test_the_settings_name_the_channels() -> None:
    settings = Settings(
        slack_webhook="http://127.0.0.1/slack",
        smtp_url="smtp://127.0.0.1",
        email_recipients="a@home.example, b@home.example",
        sns_topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts",
        webhook_url="http://127.0.0.1/hook",
    )
    assert [channel.name for channel in channels(settings)] == ["slack", "email", "sns", "webhook"]
    assert channels(Settings()) == []
    assert "127.0.0.1" not in repr(settings) + repr(channels(settings))


def test_mail_without_recipients_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(ValidationError, match="SMARTDRIVE_EMAIL_RECIPIENTS"):
        Settings(smtp_url="smtp://127.0.0.1")
