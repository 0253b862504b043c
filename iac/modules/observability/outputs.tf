output "topic_arn" {
  description = "The topic that alarms write to."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard_name" {
  description = "The dashboard in CloudWatch."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "All alarms."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.service_down : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.availability : alarm.alarm_name],
    [for alarm in aws_cloudwatch_composite_alarm.burn : alarm.alarm_name],
  ))
}
