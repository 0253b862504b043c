locals {
  # Who assumes a role. Lambda says nothing of the account it acts for; the other services do.
  own_account = { StringEquals = { "aws:SourceAccount" = local.account_id } }

  roles = {
    api               = { service = "lambda.amazonaws.com", condition = {} }
    dlq_consumer      = { service = "lambda.amazonaws.com", condition = {} }
    rotation          = { service = "lambda.amazonaws.com", condition = {} }
    dagster_execution = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    webserver         = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    daemon            = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    code              = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    run               = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    operator          = { service = "ecs-tasks.amazonaws.com", condition = local.own_account }
    scheduler         = { service = "scheduler.amazonaws.com", condition = local.own_account }
    firehose          = { service = "firehose.amazonaws.com", condition = local.own_account }
    iot_rule          = { service = "iot.amazonaws.com", condition = local.own_account }
    flow_logs         = { service = "vpc-flow-logs.amazonaws.com", condition = local.own_account }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name        = local.role_names[each.key]
  description = "SmartDrive ${var.name}: ${replace(each.key, "_", " ")}"

  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(
      { Effect = "Allow", Principal = { Service = each.value.service }, Action = "sts:AssumeRole" },
      length(each.value.condition) == 0 ? {} : { Condition = each.value.condition },
    )]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.roles

  name   = "needs"
  role   = aws_iam_role.this[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })
}
