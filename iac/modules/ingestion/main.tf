data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  channels    = toset(["telemetry", "events"])
  iot         = "arn:${data.aws_partition.current.partition}:iot:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  landing_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_names.landing}"
}
