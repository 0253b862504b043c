locals {
  widgets = [
    { title = "API: requests", stat = "Sum", metrics = [
      ["SmartDrive", "smartdrive_api_requests", "service", "smartdrive-api"],
      ["SmartDrive", "smartdrive_api_successes", "service", "smartdrive-api"],
      ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", var.load_balancer_arn_suffix],
    ] },
    { title = "API: seconds", stat = "p95", metrics = [
      ["SmartDrive", "smartdrive_api_request_seconds", "service", "smartdrive-api", { stat = "p50" }],
      ["SmartDrive", "smartdrive_api_request_seconds", "service", "smartdrive-api", { stat = "p95" }],
      ["SmartDrive", "smartdrive_api_request_seconds", "service", "smartdrive-api", { stat = "p99" }],
    ] },
    { title = "API: function", stat = "Sum", metrics = [
      ["AWS/Lambda", "Throttles", "FunctionName", var.api_function_name],
      ["AWS/Lambda", "Errors", "FunctionName", var.api_function_name],
      ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", var.api_function_name, { stat = "Maximum" }],
      ["AWS/ApplicationELB", "LambdaUserError", "TargetGroup", var.target_group_arn_suffix, "LoadBalancer", var.load_balancer_arn_suffix],
    ] },
    { title = "Lake: behind landing and ledger", stat = "Maximum", metrics = [
      ["SmartDrive", "smartdrive_lake_landing_lag_seconds", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_objects_waiting", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_gold_days_waiting", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_failed_runs", "service", "smartdrive-lake"],
    ] },
    { title = "Lake: taken in", stat = "Sum", metrics = [
      ["SmartDrive", "smartdrive_lake_objects", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_lines", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_rejected_lines", "service", "smartdrive-lake"],
      ["SmartDrive", "smartdrive_lake_samples", "service", "smartdrive-lake"],
    ] },
    { title = "From cars to landing", stat = "Maximum", metrics = concat(
      [for stream in values(var.delivery_stream_names) : ["AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", stream]],
      [for stream in values(var.delivery_stream_names) : ["AWS/Firehose", "DeliveryToS3.Success", "DeliveryStreamName", stream, { stat = "Average" }]],
      [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.dlq_name]],
    ) },
    { title = "Database", stat = "Maximum", metrics = [
      ["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", var.database.identifier],
      ["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database.identifier, { stat = "Minimum", yAxis = "right" }],
    ] },
    { title = "Dagster: running tasks", stat = "Average", metrics = [
      for service in values(var.service_names) : ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster_name, "ServiceName", service]
    ] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = concat(
      [for index, widget in local.widgets : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = data.aws_region.current.name
          view    = "timeSeries"
          period  = 300
          stat    = widget.stat
          metrics = widget.metrics
        }
      }],
      [{
        type   = "log"
        x      = 0
        y      = 6 * ceil(length(local.widgets) / 2)
        width  = 24
        height = 6
        properties = {
          title  = "Errors in the logs"
          region = data.aws_region.current.name
          view   = "table"
          query = join(" | ", concat(
            [for group in ["api", "code", "run"] : "SOURCE '${var.log_group_names[group]}'"],
            ["fields @timestamp, @log, @message", "filter @message like /(?i)error|traceback/", "sort @timestamp desc", "limit 50"],
          ))
        }
      }],
    )
  })
}
