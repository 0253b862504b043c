data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # Data is never expired here: what may go is decided by the lake's own retention, which knows what was processed.
  # An older version is a way back from a mistake, for the days given; the lake deletes versions of an erased vehicle
  # itself, at once. Compaction rewrites Silver, Gold and marts all the time: their versions go sooner.
  layers = {
    landing = { older_versions_days = 30, tier_after_days = 30 }
    bronze  = { older_versions_days = 30, tier_after_days = 30 }
    silver  = { older_versions_days = 7, tier_after_days = 60 }
    gold    = { older_versions_days = 7, tier_after_days = null }
    marts   = { older_versions_days = 7, tier_after_days = null }
    state   = { older_versions_days = 90, tier_after_days = null }
  }
  names = { for layer in concat(keys(local.layers), ["logs"]) : layer => "${var.name}-${local.account_id}-${layer}" }
  arns  = { for layer, name in local.names : layer => "arn:${local.partition}:s3:::${name}" }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV2_AWS_61:lifecycle.tf, by layer, which the scanner does not match
  #checkov:skip=CKV2_AWS_62:nobody waits for a notification: what there is to do follows from a listing
  #checkov:skip=CKV_AWS_144:one region: the owner decides whether data may leave it
  #checkov:skip=CKV_AWS_18:logged but for the bucket of the logs themselves

  for_each = local.names

  bucket        = each.value
  force_destroy = var.is_disposable

  tags = { Layer = each.key }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.names

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.names

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    # What delivers access logs, of S3 and of a load balancer, writes to buckets with S3's own key only.
    apply_server_side_encryption_by_default {
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : var.data_key_arn
    }
    bucket_key_enabled = each.key != "logs"
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.layers

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.key}/"

  depends_on = [aws_s3_bucket_policy.logs]
}
