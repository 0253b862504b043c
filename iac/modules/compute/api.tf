# The REST API: one function, reached through its alias only.

resource "aws_lambda_function" "api" {
  #checkov:skip=CKV_AWS_116:called by the load balancer, which waits for the answer: nothing is left to put into a queue
  #checkov:skip=CKV_AWS_272:provenance is attested where the package is built; a signing profile would be a second chain
  #checkov:skip=CKV_AWS_50:no tracing: latency and errors by operation come from its own metrics

  function_name = "${var.name}-api"
  description   = "The SmartDrive REST API."
  role          = var.role_arns.api

  filename         = var.api_package.filename
  s3_bucket        = var.api_package.s3_bucket
  s3_key           = var.api_package.s3_key
  source_code_hash = var.api_package.source_code_hash

  runtime       = var.api_runtime
  architectures = ["arm64"]
  handler       = "smartdrive_api.aws.handler"
  publish       = true

  memory_size                    = var.api_memory_mib
  timeout                        = var.api_timeout_s
  reserved_concurrent_executions = var.api_concurrency
  kms_key_arn                    = var.kms_key_arns.data

  vpc_config {
    subnet_ids         = var.private_subnet_ids
    security_group_ids = [var.security_group_ids.api]
  }

  environment {
    variables = {
      SMARTDRIVE_API_ISSUER                = "https://${var.api_domain}"
      SMARTDRIVE_API_LANDING_URL           = "s3://${var.bucket_names.landing}"
      SMARTDRIVE_API_DATABASE_URL          = "postgresql://${local.database}/${var.database.name}?${local.database_tls.function}"
      SMARTDRIVE_API_DATABASE_LOGIN        = "secretsmanager:${var.name}/database-app"
      SMARTDRIVE_API_SIGNING_KEYS          = "secretsmanager:${var.name}/signing-keys"
      SMARTDRIVE_API_LAKE_SECRET           = "secretsmanager:${var.name}/lake-secret"
      SMARTDRIVE_API_CERTIFICATE_AUTHORITY = "kms:${var.kms_key_arns.certificate}"
    }
  }

  logging_config {
    log_format = "Text" # lines of metrics (EMF) have to stay as they are
    log_group  = aws_cloudwatch_log_group.this["api"].name
  }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What the load balancer calls."
  function_name    = aws_lambda_function.api.function_name
  function_version = var.api_stable_version == null ? aws_lambda_function.api.version : var.api_stable_version

  dynamic "routing_config" {
    for_each = var.api_stable_version == null ? [] : [var.api_canary_weight]

    content {
      additional_version_weights = (
        aws_lambda_function.api.version == var.api_stable_version
        ? {} : { (aws_lambda_function.api.version) = routing_config.value }
      )
    }
  }
}

resource "aws_lambda_permission" "load_balancer" {
  statement_id  = "load-balancer"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.api.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "elasticloadbalancing.amazonaws.com"
  source_arn    = aws_lb_target_group.api.arn
}
