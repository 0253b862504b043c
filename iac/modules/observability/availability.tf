# Availability: of all requests, how many were answered, and not with 5xx.
#
# The API counts what it answered. What never reached it, or what it never finished, the load balancer answers with a 5xx of
# its own (502, 503, 504). So errors = answered with 5xx + the balancer's own. A burn rate of 1 spends the budget of 0.1 % in
# exactly the 30 days that it is for; 14.4 spends 2 % of it in an hour, 6 spends 5 % in six hours (Google, The Site
# Reliability Workbook, chapter 5). A burn counts where a long window shows that it matters and a short one that it lasts.

locals {
  windows = {
    error-rate = { period = 300, percent = 1, text = "More than 1 % of the API's answers were errors, over 5 minutes.", section = "api-error-rate", tells = true, times = 2 }
    burn-1h    = { period = 3600, percent = 14.4 * 100 * (1 - local.slo), text = "The error budget burned 14.4 times too fast over 1 h.", section = "budget-burns-fast", tells = !var.composite_alarms, times = 1 }
    burn-5m    = { period = 300, percent = 14.4 * 100 * (1 - local.slo), text = "The error budget burned 14.4 times too fast over 5 min.", section = "budget-burns-fast", tells = false, times = 1 }
    burn-6h    = { period = 21600, percent = 6 * 100 * (1 - local.slo), text = "The error budget burned 6 times too fast over 6 h.", section = "budget-burns-slowly", tells = !var.composite_alarms, times = 1 }
    burn-30m   = { period = 1800, percent = 6 * 100 * (1 - local.slo), text = "The error budget burned 6 times too fast over 30 min.", section = "budget-burns-slowly", tells = false, times = 1 }
  }

  counted = {
    requests  = { namespace = local.namespace, metric = "smartdrive_api_requests", dimensions = local.api }
    successes = { namespace = local.namespace, metric = "smartdrive_api_successes", dimensions = local.api }
    refused   = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.balancer }
  }

  burns = {
    fast = { long = "burn-1h", short = "burn-5m", section = "budget-burns-fast", text = "At this rate the month's error budget is gone in two days." }
    slow = { long = "burn-6h", short = "burn-30m", section = "budget-burns-slowly", text = "At this rate the month's error budget is gone in five days." }
  }
}

resource "aws_cloudwatch_metric_alarm" "availability" {
  for_each = local.windows

  alarm_name          = "${var.name}-api-${each.key}"
  alarm_description   = "${each.value.text} ${local.runbook[each.value.section]}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.percent
  evaluation_periods  = each.value.times
  datapoints_to_alarm = each.value.times
  treat_missing_data  = "notBreaching" # nobody asked
  alarm_actions       = each.value.tells ? [aws_sns_topic.alarms.arn] : []
  ok_actions          = each.value.tells ? [aws_sns_topic.alarms.arn] : []

  metric_query {
    id          = "share"
    expression  = "IF(errors >= ${var.minimum_errors}, 100 * errors / (FILL(requests, 0) + FILL(refused, 0)), 0)"
    label       = "errors, % of requests"
    return_data = true
  }

  metric_query {
    id         = "errors"
    expression = "FILL(requests, 0) - FILL(successes, 0) + FILL(refused, 0)"
    label      = "errors"
  }

  dynamic "metric_query" {
    for_each = local.counted

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        period      = each.value.period
        stat        = "Sum"
      }
    }
  }
}

resource "aws_cloudwatch_composite_alarm" "burn" {
  for_each = var.composite_alarms ? local.burns : {}

  alarm_name        = "${var.name}-budget-burns-${each.key}"
  alarm_description = "${each.value.text} ${local.runbook[each.value.section]}"
  alarm_rule = join(" AND ", [
    "ALARM(\"${aws_cloudwatch_metric_alarm.availability[each.value.long].alarm_name}\")",
    "ALARM(\"${aws_cloudwatch_metric_alarm.availability[each.value.short].alarm_name}\")",
  ])
  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]
}
