data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.name
  here       = "${local.region}:${local.account_id}"

  # Names are agreed on by all modules, so that a role can be written before what it may touch is there.
  buckets = {
    for layer in ["landing", "bronze", "silver", "gold", "marts", "state"] :
    layer => "arn:${local.partition}:s3:::${var.name}-${local.account_id}-${layer}"
  }
  lake_layers = ["bronze", "silver", "gold", "marts"]
  dlq_arn     = "arn:${local.partition}:sqs:${local.here}:${var.name}-landing-dlq"
  streams     = "arn:${local.partition}:firehose:${local.here}:deliverystream/${var.name}-*"
  cluster_arn = "arn:${local.partition}:ecs:${local.here}:cluster/${var.name}"
  tasks       = "arn:${local.partition}:ecs:${local.here}:task/${var.name}/*"
  role_arns   = { for key, role in local.roles : key => "arn:${local.partition}:iam::${local.account_id}:role/${local.role_names[key]}" }
  role_names  = { for key, role in local.roles : key => "${var.name}-${replace(key, "_", "-")}" }

  log_group_names = ["api", "webserver", "daemon", "code", "run", "operator", "rotation", "dlq-consumer", "firehose", "flow"]
  log_groups      = { for group in local.log_group_names : group => "arn:${local.partition}:logs:${local.here}:log-group:/smartdrive/${var.name}/${group}" }

  # Module compute makes these.
  logins = ["database-app", "database-serving", "database-dagster"]

  # The random end that Secrets Manager gives to an ARN has six characters.
  secret_patterns = { for secret in concat(keys(local.secrets), local.logins) : secret => "arn:${local.partition}:secretsmanager:${local.here}:secret:${var.name}/${secret}-??????" }
}
