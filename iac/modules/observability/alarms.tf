# Alarms on one metric each: name → where it comes from, and when it is wrong. `missing` says what no data means.

locals {
  alarms = merge(local.single_alarms, local.delivery_alarms)

  # One of each kind for each stream: that telemetry arrives says nothing of events.
  delivery_alarms = merge([for channel, stream in var.delivery_stream_names : {
    "delivery-fails-${channel}" = {
      section   = "delivery-fails"
      text      = "Firehose could not write ${channel} to landing."
      metric    = "DeliveryToS3.Success", namespace = "AWS/Firehose", dimensions = { DeliveryStreamName = stream }
      statistic = "Average", comparison = "LessThanThreshold", threshold = 1, period = 300, periods = 2, of = 2
      missing   = "notBreaching" # no car drives
    }
    "delivery-is-late-${channel}" = {
      section   = "delivery-is-late"
      text      = "The oldest message of ${channel} in Firehose has waited for more than 15 minutes."
      metric    = "DeliveryToS3.DataFreshness", namespace = "AWS/Firehose", dimensions = { DeliveryStreamName = stream }
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 900, period = 300, periods = 2, of = 2
      missing   = "notBreaching"
    }
  }]...)

  single_alarms = {
    api-latency = {
      text      = "95 of 100 answers of the API took up to more than 2 s."
      metric    = "smartdrive_api_request_seconds", namespace = local.namespace, dimensions = local.api
      statistic = "p95", comparison = "GreaterThanThreshold", threshold = 2, period = 300, periods = 3, of = 3
      missing   = "notBreaching"
    }
    api-throttled = {
      text      = "Lambda turned requests away: the API's concurrency is used up."
      metric    = "Throttles", namespace = "AWS/Lambda", dimensions = { FunctionName = var.api_function_name }
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, period = 60, periods = 3, of = 5
      missing   = "notBreaching"
    }
    landing-lags = {
      text      = "An object landed more than 15 minutes ago and its lines are not in the ledger."
      metric    = "smartdrive_lake_landing_lag_seconds", namespace = local.namespace, dimensions = local.lake
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 900, period = 60, periods = 5, of = 5
      missing   = "missing" # silence has an alarm of its own
    }
    lake-is-silent = {
      text      = "The landing sensor has not spoken for 10 minutes: daemon, code location or database is away."
      metric    = "smartdrive_lake_landing_lag_seconds", namespace = local.namespace, dimensions = local.lake
      statistic = "SampleCount", comparison = "LessThanThreshold", threshold = 1, period = 300, periods = 2, of = 2
      missing   = "breaching"
    }
    gold-is-behind = {
      text      = "For an hour there were days of Gold that do not show what is in the ledger."
      metric    = "smartdrive_lake_gold_days_waiting", namespace = local.namespace, dimensions = local.lake
      statistic = "Minimum", comparison = "GreaterThanThreshold", threshold = 0, period = 300, periods = 12, of = 12
      missing   = "missing"
    }
    runs-fail = {
      text      = "Three or more runs of Dagster failed within an hour."
      metric    = "smartdrive_lake_failed_runs", namespace = local.namespace, dimensions = local.lake
      statistic = "Maximum", comparison = "GreaterThanOrEqualToThreshold", threshold = 3, period = 300, periods = 1, of = 1
      missing   = "missing"
    }
    dead-letters = {
      text      = "Messages of cars lie in the dead-letter queue."
      metric    = "ApproximateNumberOfMessagesVisible", namespace = "AWS/SQS", dimensions = { QueueName = var.dlq_name }
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, of = 1
      missing   = "notBreaching"
    }
    rotation-fails = {
      text      = "A login of the database was not rotated."
      metric    = "Errors", namespace = "AWS/Lambda", dimensions = { FunctionName = var.rotation_function_name }
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, period = 3600, periods = 1, of = 1
      missing   = "notBreaching" # it is called once a month
    }
    database-storage = {
      text      = "Less than 15 % of the database's storage is free."
      metric    = "FreeStorageSpace", namespace = "AWS/RDS", dimensions = { DBInstanceIdentifier = var.database.identifier }
      statistic = "Minimum", comparison = "LessThanThreshold", period = 300, periods = 3, of = 3
      threshold = 0.15 * var.database.allocated_storage_gib * 1024 * 1024 * 1024
      missing   = "breaching"
    }
    database-connections = {
      text      = "More than 80 % of the database's connections are taken."
      metric    = "DatabaseConnections", namespace = "AWS/RDS", dimensions = { DBInstanceIdentifier = var.database.identifier }
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = floor(0.8 * var.database.max_connections), period = 60, periods = 5, of = 5
      missing   = "breaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.text} ${local.runbook[try(each.value.section, each.key)]}"

  namespace   = each.value.namespace
  metric_name = each.value.metric
  dimensions  = each.value.dimensions
  period      = each.value.period

  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  evaluation_periods  = each.value.of
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = each.value.missing

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]
}

# What should run and does not. Container Insights writes both every minute; no data means that nothing runs.
resource "aws_cloudwatch_metric_alarm" "service_down" {
  for_each = var.service_names

  alarm_name          = "${var.name}-service-is-down-${each.key}"
  alarm_description   = "Fewer tasks of ${each.key} run than should. ${local.runbook["service-is-down"]}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 10
  datapoints_to_alarm = 10
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "missing"
    expression  = "desired - running"
    label       = "tasks that do not run"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { desired = "DesiredTaskCount", running = "RunningTaskCount" }

    content {
      id = metric_query.key

      metric {
        namespace   = "ECS/ContainerInsights"
        metric_name = metric_query.value
        dimensions  = { ClusterName = var.cluster_name, ServiceName = each.value }
        period      = 60
        stat        = "Average"
      }
    }
  }
}
