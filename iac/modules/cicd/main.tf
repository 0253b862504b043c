data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account  = data.aws_caller_identity.current.account_id
  aws      = "arn:${data.aws_partition.current.partition}"
  place    = "${data.aws_region.current.name}:${local.account}"
  issuer   = "token.actions.githubusercontent.com"
  provider = coalesce(var.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))

  # Who comes: a pull request may look, a job of the protected environment may change. Nothing else gets a role.
  subjects = {
    plan  = "repo:${var.repository}:pull_request"
    apply = "repo:${var.repository}:environment:${var.environment}"
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "this" {
  for_each = local.subjects

  name                 = "${var.name}-ci-${each.key}"
  description          = "GitHub: ${each.value}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.provider }
      Condition = {
        StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = each.value
        }
      }
    }]
  })
}

resource "aws_iam_policy" "this" {
  #checkov:skip=CKV_AWS_355:looking for what there is (Describe, List) knows no resource; it reads no data and no secret

  for_each = {
    look     = { description = "Read what Terraform describes; no data, no secret.", statements = local.look }
    build    = { description = "Make and change what Terraform describes.", statements = local.build }
    guard    = { description = "What no deployment does.", statements = local.guard }
    state    = { description = "Read and write Terraform's state.", statements = local.state_write }
    boundary = { description = "The most that a role of a component may ever be allowed.", statements = local.boundary }
  }

  name        = "${var.name}-${each.key == "boundary" ? "" : "ci-"}${each.key}"
  description = each.value.description
  policy      = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
}

resource "aws_iam_role_policy" "plan_state" {
  name   = "state"
  role   = aws_iam_role.this["plan"].name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.state_read })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = {
    plan_look   = { role = "plan", policy = "look" }
    plan_guard  = { role = "plan", policy = "guard" }
    apply_look  = { role = "apply", policy = "look" }
    apply_build = { role = "apply", policy = "build" }
    apply_guard = { role = "apply", policy = "guard" }
    apply_state = { role = "apply", policy = "state" }
  }

  role       = aws_iam_role.this[each.value.role].name
  policy_arn = aws_iam_policy.this[each.value.policy].arn
}
