locals {
  # The account may use a key as its roles' policies say; a service only as stated beside it.
  by_roles = {
    Sid       = "ByPoliciesOfRoles"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
    Action    = "kms:*"
    Resource  = "*"
  }
  waiting_days = var.is_disposable ? 7 : 30
}

resource "aws_kms_key" "data" {
  description             = "${var.name}: objects, database, queue and secrets"
  enable_key_rotation     = true
  deletion_window_in_days = local.waiting_days

  policy = jsonencode({ Version = "2012-10-17", Statement = [local.by_roles] })
}

resource "aws_kms_key" "logs" {
  description             = "${var.name}: logs and alarms"
  enable_key_rotation     = true
  deletion_window_in_days = local.waiting_days

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.by_roles,
      {
        Sid       = "OurLogGroups"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = [for group in ["/smartdrive/${var.name}/*", "/aws/rds/instance/${var.name}/*"] : "arn:${local.partition}:logs:${local.here}:log-group:${group}"] } }
      },
      {
        Sid       = "AlarmsToTheirTopic"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "events.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
      },
    ]
  })
}

# AWS cannot rotate a key of this kind; a new one is made and named in the API's setting.
resource "aws_kms_key" "certificate" {
  description              = "${var.name}: signs certificates of vehicles"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "RSA_3072"
  deletion_window_in_days  = local.waiting_days

  policy = jsonencode({ Version = "2012-10-17", Statement = [local.by_roles] })
}

resource "aws_kms_alias" "this" {
  for_each = {
    data        = aws_kms_key.data.key_id
    logs        = aws_kms_key.logs.key_id
    certificate = aws_kms_key.certificate.key_id
  }

  name          = "alias/${var.name}/${each.key}"
  target_key_id = each.value
}
