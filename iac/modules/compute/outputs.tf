output "api_function_name" {
  description = "Name of the API's function."
  value       = aws_lambda_function.api.function_name
}

output "api_function_arn" {
  description = "ARN of the API's function, without version or alias."
  value       = aws_lambda_function.api.arn
}

output "rotation_function_name" {
  description = "Name of the function that rotates the database's logins."
  value       = aws_lambda_function.rotation.function_name
}

output "api_alias_name" {
  description = "The alias that the load balancer calls."
  value       = aws_lambda_alias.live.name
}

output "api_version" {
  description = "The newest published version of the API's function."
  value       = aws_lambda_function.api.version
}

output "load_balancer_arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.api.arn
}

output "load_balancer_arn_suffix" {
  description = "The load balancer as CloudWatch's dimension names it."
  value       = aws_lb.api.arn_suffix
}

output "target_group_arn_suffix" {
  description = "The target group as CloudWatch's dimension names it."
  value       = aws_lb_target_group.api.arn_suffix
}

output "load_balancer_dns_name" {
  description = "Where the name of the API has to lead (CNAME, or an alias in Route 53)."
  value       = aws_lb.api.dns_name
}

output "load_balancer_zone_id" {
  description = "Hosted zone of the load balancer, for an alias in Route 53."
  value       = aws_lb.api.zone_id
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "service_names" {
  description = "The services of Dagster: webserver, daemon, code."
  value       = { for key, service in aws_ecs_service.this : key => service.name }
}

output "task_definition_arns" {
  description = "Task definitions by kind of task."
  value       = { for key, task in aws_ecs_task_definition.this : key => task.arn }
}

output "repository_urls" {
  description = "Where images are pushed: dagster, api."
  value       = { for key, repository in aws_ecr_repository.this : key => repository.repository_url }
}

output "repository_arns" {
  description = "The same repositories, for policies."
  value       = { for key, repository in aws_ecr_repository.this : key => repository.arn }
}

output "log_group_names" {
  description = "Log groups: api, webserver, daemon, code, run, operator, rotation."
  value       = { for key, group in aws_cloudwatch_log_group.this : key => group.name }
}
