output "kms_key_arns" {
  description = "Keys: data (objects, database, queue, secrets), logs (log groups, alarms), certificate (RSA, signs)."
  value = {
    data        = aws_kms_key.data.arn
    logs        = aws_kms_key.logs.arn
    certificate = aws_kms_key.certificate.arn
  }
}

output "secret_arns" {
  description = "Secrets by name: lake-secret, signing-keys, alerting."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
}

# What needs a role waits until it may do something.
output "role_arns" {
  description = "Roles by component."
  value       = { for name, role in aws_iam_role.this : name => role.arn }

  depends_on = [aws_iam_role_policy.this]
}

output "role_names" {
  description = "The same, as names."
  value       = { for name, role in aws_iam_role.this : name => role.name }
}
