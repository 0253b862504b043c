output "lake_url" {
  description = "SMARTDRIVE_LAKE_URL."
  value       = module.storage.lake_url
}

output "landing_url" {
  description = "SMARTDRIVE_LANDING_URL."
  value       = module.storage.landing_url
}

output "state_url" {
  description = "SMARTDRIVE_STATE_URL."
  value       = module.storage.state_url
}

output "iot_policy_name" {
  description = "Policy to attach to a device's certificate."
  value       = module.ingestion.iot_policy_name
}

output "iot_thing_type_name" {
  description = "Type of a device's thing."
  value       = module.ingestion.iot_thing_type_name
}

output "database_master_secret_arn" {
  description = "Where RDS keeps the owner's password."
  value       = module.database.master_secret_arn
}

output "api_function_name" {
  description = "The API's function."
  value       = module.compute.api_function_name
}

output "api_alias_name" {
  description = "The alias that answers."
  value       = module.compute.api_alias_name
}

output "api_version" {
  description = "The newest published version."
  value       = module.compute.api_version
}

output "load_balancer_dns_name" {
  description = "Where the API's host name leads to."
  value       = module.compute.load_balancer_dns_name
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = module.compute.cluster_name
}

output "repository_urls" {
  description = "Where images are pushed."
  value       = module.compute.repository_urls
}

output "plan_role_arn" {
  description = "GitHub's role that looks."
  value       = module.cicd.plan_role_arn
}

output "apply_role_arn" {
  description = "GitHub's role that changes."
  value       = module.cicd.apply_role_arn
}
