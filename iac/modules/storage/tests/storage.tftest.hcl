mock_provider "aws" {
  source = "../../tests"
}

variables {
  name         = "smartdrive-test"
  data_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"
}

run "storage" {
  command = apply

  assert {
    condition     = output.bucket_names == { for layer in ["landing", "bronze", "silver", "gold", "marts", "state", "logs"] : layer => "smartdrive-test-123456789012-${layer}" }
    error_message = "Landing, each layer, the state and the logs have buckets of deterministic names."
  }

  assert {
    condition     = output.lake_url == "s3://smartdrive-test-123456789012-{layer}/lake"
    error_message = "The lake finds each layer's bucket by one URL."
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.this : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.this) == 7
    error_message = "No bucket can become public."
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket_ownership_controls.this : one.rule[0].object_ownership == "BucketOwnerEnforced"]) && length(aws_s3_bucket_ownership_controls.this) == 7
    error_message = "All objects are the account's own; access lists count nowhere."
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket_versioning.this : one.versioning_configuration[0].status == "Enabled"]) && length(aws_s3_bucket_versioning.this) == 7
    error_message = "Every bucket keeps versions."
  }

  assert {
    condition     = alltrue(flatten([for layer, one in aws_s3_bucket_server_side_encryption_configuration.this : [for rule in one.rule : [for by in rule.apply_server_side_encryption_by_default : layer == "logs" ? by.sse_algorithm == "AES256" : by.sse_algorithm == "aws:kms" && by.kms_master_key_id == var.data_key_arn]]]))
    error_message = "All data is encrypted with our key; logs, which AWS delivers, with S3's."
  }

  assert {
    condition     = length(aws_s3_bucket_policy.layer) == 6 && alltrue([for layer, one in aws_s3_bucket_policy.layer : length([for statement in jsondecode(one.policy).Statement : statement if statement.Effect == "Deny" && statement.Action == "s3:*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false" && toset(flatten([statement.Resource])) == toset(["arn:aws:s3:::smartdrive-test-123456789012-${layer}", "arn:aws:s3:::smartdrive-test-123456789012-${layer}/*"])]) == 1])
    error_message = "Each bucket of data refuses what comes without TLS, to itself and to its objects."
  }

  assert {
    condition     = length([for statement in jsondecode(aws_s3_bucket_policy.logs.policy).Statement : statement if statement.Effect == "Deny" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"]) == 1
    error_message = "So does the bucket of logs."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_s3_bucket_policy.logs.policy).Statement : statement.Effect == "Deny" || try(statement.Condition.StringEquals["aws:SourceAccount"], "") == "123456789012"])
    error_message = "Nobody else's service delivers logs here."
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket_policy.layer : alltrue([for statement in jsondecode(one.policy).Statement : statement.Effect == "Deny"])])
    error_message = "No bucket policy grants anything: roles do."
  }

  assert {
    condition     = { for layer, one in aws_s3_bucket_lifecycle_configuration.layer : layer => one.rule[0].noncurrent_version_expiration[0].noncurrent_days } == { landing = 30, bronze = 30, silver = 7, gold = 7, marts = 7, state = 90 }
    error_message = "Older versions end, sooner where compaction makes many."
  }

  assert {
    condition     = alltrue(flatten([for one in aws_s3_bucket_lifecycle_configuration.layer : [for rule in one.rule : [for expiration in rule.expiration : expiration.days == null || expiration.days == 0]]]))
    error_message = "No data expires by age: the lake decides what may go."
  }

  assert {
    condition     = alltrue(flatten([for one in aws_s3_bucket_lifecycle_configuration.layer : [for rule in one.rule : [for move in rule.transition : move.storage_class == "INTELLIGENT_TIERING"]]]))
    error_message = "What is seldom read still answers at once."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.logs.rule[0].expiration[0].days == 90
    error_message = "Access logs end."
  }

  assert {
    condition     = alltrue([for one in aws_s3_bucket_logging.this : one.target_bucket == aws_s3_bucket.this["logs"].id]) && length(aws_s3_bucket_logging.this) == 6 && length(distinct([for one in aws_s3_bucket_logging.this : one.target_prefix])) == 6
    error_message = "Every access to data is logged, each bucket under a prefix of its own."
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : bucket.force_destroy == false])
    error_message = "Nobody destroys data in passing."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    name                      = "-x"
    data_key_arn              = "alias/data"
    access_log_retention_days = 1
  }

  expect_failures = [var.name, var.data_key_arn, var.access_log_retention_days]
}
