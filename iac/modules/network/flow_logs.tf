resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  name              = "/smartdrive/${var.name}/flow"
  retention_in_days = var.flow_log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = var.flow_logs_role_arn
  max_aggregation_interval = 60

  tags = { Name = var.name }
}
