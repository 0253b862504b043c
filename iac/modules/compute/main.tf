data "aws_region" "current" {}

locals {
  log_groups = toset(["api", "webserver", "daemon", "code", "run", "operator", "rotation"])
  region     = data.aws_region.current.name

  # RDS's authorities (iac/database/rds-ca-rsa2048-g1.pem): where the images and the function's package have them.
  authorities = { container = "/opt/smartdrive/rds-ca.pem", function = "/var/task/rds-ca.pem" }

  database     = "${var.database.host}:${var.database.port}"
  database_tls = { for place, file in local.authorities : place => "sslmode=verify-full&sslrootcert=${file}" }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  for_each = local.log_groups

  name              = "/smartdrive/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arns.logs
}
