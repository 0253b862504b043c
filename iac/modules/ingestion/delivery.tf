# Each message becomes one line of a landing object: where it came from, when, and its bytes as they were.
resource "aws_iot_topic_rule" "land" {
  for_each = local.channels

  name        = "${replace(var.name, "-", "_")}_${each.value}"
  description = "vehicle/{device_id}/${each.value} to landing"
  enabled     = true
  sql         = "SELECT topic() AS topic, timestamp() AS received_at, encode(*, 'base64') AS payload_b64 FROM 'vehicle/+/${each.value}'"
  sql_version = "2016-03-23"

  firehose {
    delivery_stream_name = aws_kinesis_firehose_delivery_stream.land[each.value].name
    role_arn             = var.role_arns.iot_rule
    separator            = "\n"
  }

  error_action {
    sqs {
      queue_url  = aws_sqs_queue.dead_letters.url
      role_arn   = var.role_arns.iot_rule
      use_base64 = false
    }
  }
}

# A stream for each channel: the channel is the first part of an object's key.
resource "aws_kinesis_firehose_delivery_stream" "land" {
  for_each = local.channels

  name        = "${var.name}-${each.value}"
  destination = "extended_s3"

  server_side_encryption {
    enabled  = true
    key_type = "CUSTOMER_MANAGED_CMK"
    key_arn  = var.kms_key_arns.data
  }

  extended_s3_configuration {
    role_arn            = var.role_arns.firehose
    bucket_arn          = local.landing_arn
    prefix              = "${each.value}/dt=!{timestamp:yyyy-MM-dd}/hr=!{timestamp:HH}/"
    error_output_prefix = "undelivered/${each.value}/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/"
    compression_format  = "GZIP"
    file_extension      = ".jsonl.gz"
    buffering_interval  = var.buffering_seconds
    buffering_size      = 64
    kms_key_arn         = var.kms_key_arns.data

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose.name
      log_stream_name = aws_cloudwatch_log_stream.firehose[each.value].name
    }
  }
}

resource "aws_cloudwatch_log_group" "firehose" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  name              = "/smartdrive/${var.name}/firehose"
  retention_in_days = 30
  kms_key_id        = var.kms_key_arns.logs
}

resource "aws_cloudwatch_log_stream" "firehose" {
  for_each = local.channels

  name           = each.value
  log_group_name = aws_cloudwatch_log_group.firehose.name
}
