mock_provider "aws" {
  source = "../../tests"
}

variables {
  name         = "smartdrive-test"
  bucket_names = { landing = "smartdrive-test-123456789012-landing" }
  kms_key_arns = {
    data = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"
    logs = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  }
  role_arns = {
    iot_rule     = "arn:aws:iam::123456789012:role/smartdrive-test-iot-rule"
    firehose     = "arn:aws:iam::123456789012:role/smartdrive-test-firehose"
    dlq_consumer = "arn:aws:iam::123456789012:role/smartdrive-test-dlq-consumer"
  }
  consumer_package = { filename = "consumer.zip", source_code_hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
}

run "ingestion" {
  command = apply

  assert {
    condition     = alltrue([for channel, rule in aws_iot_topic_rule.land : rule.sql == "SELECT topic() AS topic, timestamp() AS received_at, encode(*, 'base64') AS payload_b64 FROM 'vehicle/+/${channel}'"]) && toset(keys(aws_iot_topic_rule.land)) == toset(["telemetry", "events"])
    error_message = "A message is landed as an envelope: its topic, its time and its bytes."
  }

  assert {
    condition     = alltrue([for rule in aws_iot_topic_rule.land : one(rule.firehose).separator == "\n"])
    error_message = "One envelope a line."
  }

  assert {
    condition     = alltrue([for rule in aws_iot_topic_rule.land : one(one(rule.error_action).sqs).queue_url == aws_sqs_queue.dead_letters.url && !one(one(rule.error_action).sqs).use_base64])
    error_message = "What cannot be handed on waits in the queue."
  }

  assert {
    condition     = alltrue([for channel, stream in aws_kinesis_firehose_delivery_stream.land : stream.extended_s3_configuration[0].prefix == "${channel}/dt=!{timestamp:yyyy-MM-dd}/hr=!{timestamp:HH}/" && stream.extended_s3_configuration[0].file_extension == ".jsonl.gz" && stream.extended_s3_configuration[0].compression_format == "GZIP"])
    error_message = "Objects lie where the lake looks for them, under names that say what they are."
  }

  assert {
    condition     = alltrue([for stream in aws_kinesis_firehose_delivery_stream.land : stream.server_side_encryption[0].enabled && stream.extended_s3_configuration[0].kms_key_arn == var.kms_key_arns.data])
    error_message = "What waits and what has landed is encrypted with our key."
  }

  assert {
    condition     = alltrue([for stream in aws_kinesis_firehose_delivery_stream.land : !startswith(stream.extended_s3_configuration[0].error_output_prefix, "telemetry/") && !startswith(stream.extended_s3_configuration[0].error_output_prefix, "events/")])
    error_message = "What Firehose could not deliver is no landing object."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iot_policy.collector.policy).Statement : alltrue([for resource in statement.Resource : strcontains(resource, "$${iot:Connection.Thing.ThingName}")])])
    error_message = "Whatever a device may do names the device."
  }

  assert {
    condition     = alltrue(flatten([for statement in jsondecode(aws_iot_policy.collector.policy).Statement : [for text in concat(statement.Action, statement.Resource) : !strcontains(text, "*") && !strcontains(text, "+") && !strcontains(text, "#")]]))
    error_message = "No wildcard reaches another device's topics."
  }

  assert {
    condition     = toset([for resource in flatten([for statement in jsondecode(aws_iot_policy.collector.policy).Statement : statement.Resource if contains(statement.Action, "iot:Publish")]) : regex("[a-z]+$", resource)]) == toset(["telemetry", "events"])
    error_message = "A device publishes telemetry and events, and no acks."
  }

  assert {
    condition     = jsondecode(aws_iot_policy.collector.policy).Statement[0].Condition.Bool["iot:Connection.Thing.IsAttached"] == "true"
    error_message = "A certificate that belongs to no thing does not connect."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.kms_master_key_id == var.kms_key_arns.data && aws_sqs_queue.dead_letters.message_retention_seconds == 1209600
    error_message = "Dead letters are encrypted and kept as long as SQS keeps anything."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_policy.dead_letters.policy).Statement[0].Effect == "Deny" && jsondecode(aws_sqs_queue_policy.dead_letters.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "The queue speaks TLS alone."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.consumer.event_source_arn == aws_sqs_queue.dead_letters.arn && aws_lambda_event_source_mapping.consumer.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "The consumer drains the queue, and one bad letter does not hold up the others."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.visibility_timeout_seconds >= 6 * aws_lambda_function.consumer.timeout
    error_message = "A letter stays hidden while it is being landed."
  }

  assert {
    condition     = aws_lambda_function.consumer.environment[0].variables.SMARTDRIVE_LANDING_URL == "s3://smartdrive-test-123456789012-landing"
    error_message = "The consumer lands where Firehose does."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    consumer_package  = { filename = "consumer.tar", source_code_hash = "abc" }
    buffering_seconds = 3600
  }

  expect_failures = [var.consumer_package, var.buffering_seconds]
}
