mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/smartdrive-prod-any" }
  }
}

variables {
  name             = "smartdrive-prod"
  repository       = "example/smartdrive"
  environment      = "prod"
  state_bucket_arn = "arn:aws:s3:::example-terraform-state"
  state_key_prefix = "smartdrive-prod/"
  api_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:smartdrive-prod-api"
  repository_arns  = ["arn:aws:ecr:eu-central-1:123456789012:repository/smartdrive-prod/dagster"]
  cluster_name     = "smartdrive-prod"
}

run "everything" {
  command = apply

  assert {
    condition     = jsondecode(aws_iam_role.this["plan"].assume_role_policy).Statement[0].Condition == { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:sub" = "repo:example/smartdrive:pull_request" } }
    error_message = "A pull request of this repository gets the plan role, and nobody else does."
  }
  assert {
    condition     = jsondecode(aws_iam_role.this["apply"].assume_role_policy).Statement[0].Condition == { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:sub" = "repo:example/smartdrive:environment:prod" } }
    error_message = "A job of the protected environment gets the apply role, and nobody else does."
  }
  assert {
    condition     = aws_iam_role.this["plan"].name != aws_iam_role.this["apply"].name
    error_message = "Looking and changing are two roles."
  }
  assert {
    condition     = sort([for key, one in aws_iam_role_policy_attachment.this : key if one.role == aws_iam_role.this["plan"].name]) == tolist(["plan_guard", "plan_look"])
    error_message = "The plan role may look, and is guarded."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_policy.this["look"].policy).Statement : alltrue([for action in statement.Action : can(regex("^[a-z0-9-]+:(Describe|Get|List)", action))])])
    error_message = "Looking is Describe, Get and List."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_policy.this["look"].policy).Statement : length(setintersection(statement.Action, ["s3:Get*", "s3:GetObject", "secretsmanager:Get*", "secretsmanager:GetSecretValue", "kms:Decrypt", "sqs:ReceiveMessage"])) == 0])
    error_message = "Looking reads no data and no secret."
  }
  assert {
    condition     = alltrue(flatten([for name in ["look", "build", "state", "boundary"] : [for statement in jsondecode(aws_iam_policy.this[name].policy).Statement : !contains(flatten([statement.Action]), "*")]]))
    error_message = "No policy allows every action."
  }
  assert {
    condition     = alltrue(flatten([for statement in jsondecode(aws_iam_policy.this["build"].policy).Statement : [for action in flatten([statement.Action]) : !endswith(action, ":*")] if flatten([statement.Resource]) == ["*"]]))
    error_message = "No service is wide open on every resource."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_policy.this["build"].policy).Statement : statement.Condition.StringEquals["iam:PermissionsBoundary"] == "arn:aws:iam::123456789012:policy/smartdrive-prod-boundary" if contains(flatten([statement.Action]), "iam:CreateRole") || contains(flatten([statement.Action]), "iam:PutRolePolicy")])
    error_message = "Roles are made within the boundary only."
  }
  assert {
    condition     = anytrue([for statement in jsondecode(aws_iam_policy.this["guard"].policy).Statement : statement.Effect == "Deny" && contains(flatten([statement.Action]), "iam:CreatePolicyVersion") && contains(flatten([try(statement.Resource, [])]), "arn:aws:iam::123456789012:policy/smartdrive-prod-*")])
    error_message = "A deployment does not change what bounds it."
  }
  assert {
    condition     = anytrue([for statement in jsondecode(aws_iam_policy.this["guard"].policy).Statement : statement.Effect == "Deny" && contains(flatten([statement.Action]), "secretsmanager:GetSecretValue")])
    error_message = "A deployment opens no secret."
  }
  assert {
    condition     = alltrue([for policy in aws_iam_policy.this : length(replace(policy.policy, "/\\s/", "")) <= 6144])
    error_message = "A managed policy has at most 6,144 characters."
  }
  assert {
    condition     = aws_iam_policy.this["boundary"].name == "smartdrive-prod-boundary"
    error_message = "The boundary has the name that the apply role is bound to."
  }
  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 1
    error_message = "GitHub's provider is made where the account has none."
  }
}

run "with_the_accounts_provider" {
  command = apply

  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "A second provider for the same issuer is refused by AWS."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    name             = "X"
    repository       = "example/*"
    environment      = "*"
    state_key_prefix = "smartdrive"
  }

  expect_failures = [var.name, var.repository, var.environment, var.state_key_prefix]
}
