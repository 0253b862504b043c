output "bucket_names" {
  description = "Buckets by layer: landing, bronze, silver, gold, marts, state, logs. They take logs and TLS alone once this is known."
  value       = { for layer, bucket in aws_s3_bucket.this : layer => bucket.bucket }

  depends_on = [aws_s3_bucket_policy.layer, aws_s3_bucket_policy.logs]
}

output "bucket_arns" {
  description = "The same, as ARNs."
  value       = { for layer, bucket in aws_s3_bucket.this : layer => bucket.arn }

  depends_on = [aws_s3_bucket_policy.layer, aws_s3_bucket_policy.logs]
}

output "lake_url" {
  description = "SMARTDRIVE_LAKE_URL: the tables of each layer in that layer's bucket."
  value       = "s3://${var.name}-${local.account_id}-{layer}/lake"
}

output "landing_url" {
  description = "SMARTDRIVE_LANDING_URL."
  value       = "s3://${local.names["landing"]}"
}

output "state_url" {
  description = "SMARTDRIVE_STATE_URL: who was told what, and who was erased."
  value       = "s3://${local.names["state"]}/state"
}
