output "plan_role_arn" {
  description = "The role of pull requests: it looks and changes nothing."
  value       = aws_iam_role.this["plan"].arn
}

output "apply_role_arn" {
  description = "The role of the protected environment's jobs."
  value       = aws_iam_role.this["apply"].arn
}

output "boundary_arn" {
  description = "The permissions boundary that every role of a component has to have: without it the apply role may not make one."
  value       = aws_iam_policy.this["boundary"].arn
}
