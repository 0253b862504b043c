locals {
  consumer_timeout_s = 60
}

# What a rule could not hand on waits here, for two weeks at most, until the consumer has landed it.
resource "aws_sqs_queue" "dead_letters" {
  name                       = "${var.name}-landing-dlq"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 6 * local.consumer_timeout_s
  kms_master_key_id          = var.kms_key_arns.data
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "sqs:*"
      Resource  = aws_sqs_queue.dead_letters.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_cloudwatch_log_group" "consumer" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  name              = "/smartdrive/${var.name}/dlq-consumer"
  retention_in_days = 30
  kms_key_id        = var.kms_key_arns.logs
}

resource "aws_lambda_function" "consumer" {
  #checkov:skip=CKV_AWS_115:its queue starts two at a time at most
  #checkov:skip=CKV_AWS_116:its source is a queue, in which stays what it could not land
  #checkov:skip=CKV_AWS_117:it reaches S3 and SQS alone, and no database
  #checkov:skip=CKV_AWS_173:its environment holds a bucket's name, and no secret
  #checkov:skip=CKV_AWS_272:packed from one file of this repository by whoever applies
  #checkov:skip=CKV_AWS_50:no tracing: the age of its queue tells how it does

  function_name    = "${var.name}-dlq-consumer"
  description      = "Lands messages that a rule could not hand on"
  role             = var.role_arns.dlq_consumer
  filename         = var.consumer_package.filename
  source_code_hash = var.consumer_package.source_code_hash
  handler          = "dead_letters.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  memory_size      = 256
  timeout          = local.consumer_timeout_s

  environment {
    variables = {
      SMARTDRIVE_LANDING_URL = "s3://${var.bucket_names.landing}"
    }
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.consumer.name
  }
}

resource "aws_lambda_event_source_mapping" "consumer" {
  event_source_arn                   = aws_sqs_queue.dead_letters.arn
  function_name                      = aws_lambda_function.consumer.arn
  batch_size                         = 1000
  maximum_batching_window_in_seconds = 60
  function_response_types            = ["ReportBatchItemFailures"]

  # An outage ends with a full queue: it is drained without a crowd.
  scaling_config {
    maximum_concurrency = 2
  }
}
