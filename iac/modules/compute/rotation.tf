# Logins of the database rotate: every so often Secrets Manager calls this function, which is in the API's package.

locals {
  # Containers get a login when they start, so these start anew; the API reads its own (smartdrive_api/database.py).
  logins = {
    "database-app"     = { whose = "the API", database = var.database.name, services = [] }
    "database-serving" = { whose = "the lake's publisher", database = var.database.name, services = ["code"] }
    "database-dagster" = { whose = "Dagster", database = "dagster", services = ["webserver", "daemon", "code"] }
  }
}

# An operator writes the first value; it never passes through Terraform, whose state would keep it.
resource "aws_secretsmanager_secret" "login" {
  for_each = local.logins

  name                    = "${var.name}/${each.key}"
  description             = "Login of ${each.value.whose}: JSON with username and password."
  kms_key_id              = var.kms_key_arns.data
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

resource "aws_lambda_function" "rotation" {
  #checkov:skip=CKV_AWS_116:Secrets Manager calls and tries again by itself; what fails is an alarm
  #checkov:skip=CKV_AWS_272:provenance is attested where the package is built; a signing profile would be a second chain
  #checkov:skip=CKV_AWS_50:no tracing: one call a month, whose four steps its log tells apart

  function_name = "${var.name}-rotation"
  description   = "Rotates the logins of the database."
  role          = var.role_arns.rotation

  filename         = var.api_package.filename
  s3_bucket        = var.api_package.s3_bucket
  s3_key           = var.api_package.s3_key
  source_code_hash = var.api_package.source_code_hash

  runtime       = var.api_runtime
  architectures = ["arm64"]
  handler       = "smartdrive_api.rotation.handler"

  memory_size                    = 512
  timeout                        = 60
  reserved_concurrent_executions = length(local.logins)
  kms_key_arn                    = var.kms_key_arns.data

  vpc_config {
    subnet_ids         = var.private_subnet_ids
    security_group_ids = [var.security_group_ids.rotation]
  }

  environment {
    variables = {
      SMARTDRIVE_ROTATION_CLUSTER = aws_ecs_cluster.this.name
      SMARTDRIVE_ROTATION_SECRETS = jsonencode({
        for secret, one in local.logins : aws_secretsmanager_secret.login[secret].arn => {
          database_url = "postgresql://${local.database}/${one.database}?${local.database_tls.function}"
          services     = one.services
        }
      })
    }
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this["rotation"].name
  }
}

resource "aws_lambda_permission" "rotation" {
  for_each = local.logins

  statement_id  = each.key
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.rotation.function_name
  principal     = "secretsmanager.amazonaws.com"
  source_arn    = aws_secretsmanager_secret.login[each.key].arn
}

resource "aws_secretsmanager_secret_rotation" "this" {
  for_each = local.logins

  secret_id           = aws_secretsmanager_secret.login[each.key].id
  rotation_lambda_arn = aws_lambda_function.rotation.arn
  rotate_immediately  = false # the logins may not be there yet

  rotation_rules {
    automatically_after_days = var.rotation_days
  }

  depends_on = [aws_lambda_permission.rotation]
}
