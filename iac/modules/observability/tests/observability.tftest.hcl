mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:smartdrive-test-alarms" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/smartdrive-test-slack" }
  }
}

variables {
  name = "smartdrive-test"
  log_group_names = {
    api  = "/smartdrive/smartdrive-test/api"
    code = "/smartdrive/smartdrive-test/code"
    run  = "/smartdrive/smartdrive-test/run"
  }
  api_function_name        = "smartdrive-test-api"
  rotation_function_name   = "smartdrive-test-rotation"
  load_balancer_arn_suffix = "app/smartdrive-test-api/50dc6c495c0c9188"
  target_group_arn_suffix  = "targetgroup/smartdrive-test-api/6d0ecf831eec9f09"
  dlq_name                 = "smartdrive-test-landing-dlq"
  delivery_stream_names    = { telemetry = "smartdrive-test-telemetry", events = "smartdrive-test-events" }
  database                 = { identifier = "smartdrive-test", allocated_storage_gib = 20, max_connections = 100 }
  cluster_name             = "smartdrive-test"
  service_names            = { webserver = "webserver", daemon = "daemon", code = "code" }
  kms_key_arn              = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  alarm_emails             = ["oncall@example.org"]
  runbook_url              = "https://example.org/docs/how-to/respond-to-alarms.md"
  slack                    = { workspace_id = "T07EA123LEP", channel_id = "C07EZ1ABC23" }
}

run "everything" {
  command = apply

  assert {
    condition     = [for channel in ["events", "telemetry"] : aws_cloudwatch_metric_alarm.this["delivery-fails-${channel}"].dimensions.DeliveryStreamName] == ["smartdrive-test-events", "smartdrive-test-telemetry"]
    error_message = "Each stream is watched."
  }

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.kms_key_arn
    error_message = "What the topic keeps is encrypted."
  }
  assert {
    condition     = jsondecode(aws_sns_topic_policy.alarms.policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    error_message = "Only this account's alarms write to the topic."
  }
  assert {
    condition     = aws_sns_topic_subscription.email["oncall@example.org"].protocol == "email"
    error_message = "People are told by mail."
  }
  assert {
    condition     = aws_chatbot_slack_channel_configuration.alarms[0].guardrail_policy_arns == tolist(["arn:aws:iam::aws:policy/AWSDenyAll"])
    error_message = "Whoever is in the channel may ask AWS nothing."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["lake-is-silent"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.this["lake-is-silent"].statistic == "SampleCount"
    error_message = "Silence of the lake is an alarm."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["api-latency"].extended_statistic == "p95" && aws_cloudwatch_metric_alarm.this["api-latency"].threshold == 2
    error_message = "The API's p95 is held against 2 s."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["landing-lags"].threshold == 900
    error_message = "Landing may lag for 15 minutes."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["dead-letters"].threshold == 0 && aws_cloudwatch_metric_alarm.this["dead-letters"].dimensions == tomap({ QueueName = "smartdrive-test-landing-dlq" })
    error_message = "One message in the dead-letter queue is enough."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["database-storage"].threshold == 3221225472
    error_message = "15 % of 20 GiB have to be free."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["database-connections"].threshold == 80
    error_message = "80 of 100 connections are the limit."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.availability["error-rate"].threshold == 1 && aws_cloudwatch_metric_alarm.availability["error-rate"].treat_missing_data == "notBreaching"
    error_message = "More than 1 % of errors is an alarm; no request is none."
  }
  assert {
    condition     = abs(aws_cloudwatch_metric_alarm.availability["burn-1h"].threshold - 1.44) < 0.001 && abs(aws_cloudwatch_metric_alarm.availability["burn-5m"].threshold - 1.44) < 0.001
    error_message = "The fast burn is 14.4 times 0.1 %."
  }
  assert {
    condition     = abs(aws_cloudwatch_metric_alarm.availability["burn-6h"].threshold - 0.6) < 0.001 && abs(aws_cloudwatch_metric_alarm.availability["burn-30m"].threshold - 0.6) < 0.001
    error_message = "The slow burn is 6 times 0.1 %."
  }
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.availability : name => one(distinct(flatten([for query in alarm.metric_query : [for metric in query.metric : metric.period]]))) } == {
      error-rate = 300, burn-1h = 3600, burn-5m = 300, burn-6h = 21600, burn-30m = 1800
    }
    error_message = "Each burn rate is taken over the window in its name."
  }
  assert {
    condition     = aws_cloudwatch_composite_alarm.burn["fast"].alarm_rule == "ALARM(\"smartdrive-test-api-burn-1h\") AND ALARM(\"smartdrive-test-api-burn-5m\")"
    error_message = "A fast burn needs both its windows."
  }
  assert {
    condition     = aws_cloudwatch_composite_alarm.burn["slow"].alarm_rule == "ALARM(\"smartdrive-test-api-burn-6h\") AND ALARM(\"smartdrive-test-api-burn-30m\")"
    error_message = "A slow burn needs both its windows."
  }
  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.availability : (name == "error-rate") == (length(coalesce(alarm.alarm_actions, [])) == 1)])
    error_message = "One window of a burn rate wakes nobody."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.service_down : alarm.treat_missing_data == "breaching"]) && length(aws_cloudwatch_metric_alarm.service_down) == 3
    error_message = "A service of which nothing is heard is down."
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 9
    error_message = "The dashboard shows the API, the lake, the way there, the database, Dagster and the logs."
  }
}

run "without_slack_and_on_an_emulator" {
  command = apply

  variables {
    slack            = null
    composite_alarms = false
  }

  assert {
    condition     = length(aws_chatbot_slack_channel_configuration.alarms) == 0 && length(aws_iam_role.slack) == 0
    error_message = "Without Slack there is no role for it."
  }
  assert {
    condition     = length(aws_cloudwatch_composite_alarm.burn) == 0 && length(aws_cloudwatch_metric_alarm.availability["burn-1h"].alarm_actions) == 1
    error_message = "Without composite alarms the long windows tell."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    name                     = "Smart Drive"
    alarm_emails             = ["nobody"]
    runbook_url              = "docs/how-to/respond-to-alarms.md"
    slack                    = { workspace_id = "smartdrive", channel_id = "#alarms" }
    minimum_errors           = 0
    load_balancer_arn_suffix = "net/x/y"
    database                 = { identifier = "x", allocated_storage_gib = 0, max_connections = 100 }
    log_group_names          = {}
  }

  expect_failures = [
    var.name, var.alarm_emails, var.runbook_url, var.slack, var.minimum_errors, var.load_balancer_arn_suffix, var.database,
    var.log_group_names,
  ]
}
