mock_provider "aws" {
  source = "../../tests"
}

variables {
  name = "smartdrive-test"
}

run "security" {
  command = apply

  assert {
    condition     = toset(keys(output.role_arns)) == toset(["api", "code", "daemon", "dagster_execution", "dlq_consumer", "firehose", "flow_logs", "iot_rule", "operator", "rotation", "run", "scheduler", "webserver"])
    error_message = "Each component has a role of its own."
  }

  assert {
    condition     = alltrue(flatten([for role, one in aws_iam_role_policy.this : [for statement in jsondecode(one.policy).Statement : [for action in statement.Action : can(regex("^[a-z0-9]+:[A-Za-z]+$", action))] if statement.Effect == "Allow"]]))
    error_message = "No role is allowed an action with a wildcard."
  }

  assert {
    # The full list of what AWS takes no resource for.
    condition = toset(flatten([for role, one in aws_iam_role_policy.this : [for statement in jsondecode(one.policy).Statement : [for action in statement.Action : action] if statement.Effect == "Allow" && contains(statement.Resource, "*")]])) == toset([
      "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
      "ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition",
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ])
    error_message = "Only what AWS takes no resource for is allowed on all of them."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.this["api"].policy).Statement : alltrue([for action in statement.Action : !startswith(action, "s3:") || action == "s3:PutObject"])])
    error_message = "The API puts landing objects and reads none."
  }

  assert {
    condition     = alltrue([for role in ["api", "rotation"] : length([for statement in jsondecode(aws_iam_role_policy.this[role].policy).Statement : statement if statement.Effect == "Deny" && contains(statement.Action, "ec2:*") && endswith(try(statement.Condition.ArnEquals["lambda:SourceFunctionArn"], ""), ":function:smartdrive-test-${role}")]) == 1])
    error_message = "A function's own code cannot touch network interfaces."
  }

  assert {
    condition     = alltrue(flatten([for statement in jsondecode(aws_iam_role_policy.this["code"].policy).Statement : [for action in statement.Action : contains(["s3:GetObject", "s3:ListBucket", "kms:Decrypt"], action)]]))
    error_message = "The code location looks and writes nothing."
  }

  assert {
    condition     = alltrue(flatten([for role in ["webserver", "daemon", "scheduler", "flow_logs"] : [for statement in jsondecode(aws_iam_role_policy.this[role].policy).Statement : [for action in statement.Action : !startswith(action, "s3:")]]]))
    error_message = "Whoever needs no data gets none."
  }

  assert {
    condition     = alltrue(flatten([for one in aws_iam_role_policy.this : [for statement in jsondecode(one.policy).Statement : try(statement.Condition.StringEquals["iam:PassedToService"], "") == "ecs-tasks.amazonaws.com" if contains(statement.Action, "iam:PassRole")]]))
    error_message = "A role is handed to ECS tasks alone."
  }

  assert {
    condition     = alltrue([for role, one in aws_iam_role.this : contains(["api", "dlq_consumer", "rotation"], role) || try(jsondecode(one.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"], "") == "123456789012"])
    error_message = "A service takes a role for this account alone."
  }

  assert {
    condition     = alltrue([for one in [aws_kms_key.data, aws_kms_key.logs] : one.enable_key_rotation && one.deletion_window_in_days == 30])
    error_message = "AWS rotates the keys that it can, and a mistake can be taken back for 30 days."
  }

  assert {
    condition     = aws_kms_key.certificate.key_usage == "SIGN_VERIFY" && aws_kms_key.certificate.customer_master_key_spec == "RSA_3072"
    error_message = "Certificates are signed with an RSA key of the size that the API makes itself."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.logs.policy).Statement : statement.Sid == "ByPoliciesOfRoles" || can(statement.Condition)])
    error_message = "Services use the key for our log groups and alarms alone."
  }

  assert {
    # The owner's password, which RDS keeps as rds!db-…, is none of them.
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this["rotation"].policy).Statement : statement.Resource if anytrue([for action in statement.Action : startswith(action, "secretsmanager:")])])) == toset([
      for secret in ["database-app", "database-serving", "database-dagster"] : "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/${secret}-??????"
    ])
    error_message = "Who rotates logins touches their secrets alone."
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this["rotation"].policy).Statement : statement.Resource if contains(statement.Action, "ecs:UpdateService")])) == toset([for service in ["webserver", "daemon", "code"] : "arn:aws:ecs:eu-central-1:123456789012:service/smartdrive-test/${service}"])
    error_message = "Who rotates logins starts Dagster's services anew, and nothing else."
  }

  assert {
    condition     = toset([for secret in aws_secretsmanager_secret.this : secret.name]) == toset([for name in ["lake-secret", "signing-keys", "alerting"] : "smartdrive-test/${name}"])
    error_message = "The secrets are those that the programs ask for."
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.kms_key_id == aws_kms_key.data.arn && secret.recovery_window_in_days == 30])
    error_message = "Secrets are sealed with our key and can be restored for 30 days."
  }

  assert {
    condition     = length([for statement in jsondecode(aws_iam_role_policy.this["run"].policy).Statement : statement if contains(statement.Action, "sns:Publish")]) == 0
    error_message = "Where alerts go to no topic, nobody may publish to one."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    name            = "x"
    alert_topic_arn = "alarms"
  }

  expect_failures = [var.name, var.alert_topic_arn]
}
