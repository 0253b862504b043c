data "aws_region" "current" {}

locals {
  log_groups = toset(["api", "webserver", "daemon", "code", "run", "operator", "rotation"])
  region     = data.aws_region.current.name

  database_tls = "sslmode=require"
  database_url = "${var.database.host}:${var.database.port}/${var.database.name}?${local.database_tls}"
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  for_each = local.log_groups

  name              = "/smartdrive/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arns.logs
}
