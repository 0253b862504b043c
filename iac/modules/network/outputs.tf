output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets of the load balancer, one for each zone."
  value       = [for name in local.of_tier.public : aws_subnet.this[name].id]
}

output "private_subnet_ids" {
  description = "Subnets of all that computes, one for each zone."
  value       = [for name in local.of_tier.private : aws_subnet.this[name].id]
}

output "isolated_subnet_ids" {
  description = "Subnets of the database, one for each zone; no route leads out of them."
  value       = [for name in local.of_tier.isolated : aws_subnet.this[name].id]
}

output "security_group_ids" {
  description = "Groups by who is in them: load_balancer, api, dagster, database, endpoints."
  value       = { for name, group in aws_security_group.this : name => group.id }
}
