output "delivery_stream_names" {
  description = "Streams by channel."
  value       = { for channel, stream in aws_kinesis_firehose_delivery_stream.land : channel => stream.name }
}

output "dlq_arn" {
  description = "Queue of dead letters."
  value       = aws_sqs_queue.dead_letters.arn
}

output "dlq_name" {
  description = "The same, as its name."
  value       = aws_sqs_queue.dead_letters.name
}

output "dlq_url" {
  description = "The same, as its URL."
  value       = aws_sqs_queue.dead_letters.url
}

output "iot_rule_name" {
  description = "Rule of telemetry."
  value       = aws_iot_topic_rule.land["telemetry"].name
}

output "iot_policy_name" {
  description = "Policy to attach to a device's certificate."
  value       = aws_iot_policy.collector.name
}

output "iot_thing_type_name" {
  description = "Type of a device's thing."
  value       = aws_iot_thing_type.collector.name
}

output "dlq_consumer_function_name" {
  description = "Function that lands dead letters."
  value       = aws_lambda_function.consumer.function_name
}
