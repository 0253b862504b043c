output "lake_url" {
  description = "SMARTDRIVE_LAKE_URL."
  value       = module.smartdrive.lake_url
}

output "landing_url" {
  description = "SMARTDRIVE_LANDING_URL."
  value       = module.smartdrive.landing_url
}

output "state_url" {
  description = "SMARTDRIVE_STATE_URL."
  value       = module.smartdrive.state_url
}

output "iot_policy_name" {
  description = "Policy to attach to a device's certificate."
  value       = module.smartdrive.iot_policy_name
}

output "iot_thing_type_name" {
  description = "Type of a device's thing."
  value       = module.smartdrive.iot_thing_type_name
}

output "database_master_secret_arn" {
  description = "Where RDS keeps the owner's password."
  value       = module.smartdrive.database_master_secret_arn
}
