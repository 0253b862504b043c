output "identifier" {
  description = "Name of the instance, as metrics know it."
  value       = aws_db_instance.this.identifier
}

output "endpoint" {
  description = "Host of the database."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port of the database."
  value       = local.port
}

output "database_name" {
  description = "The API's database."
  value       = local.database_name
}

output "master_secret_arn" {
  description = "Secret in which RDS keeps the master password."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "allocated_storage_gib" {
  description = "Storage at the start (GiB)."
  value       = var.allocated_storage_gib
}

output "max_connections" {
  description = "Connections that the server takes."
  value       = var.max_connections
}

output "owner" {
  description = "The login whose password that secret holds."
  value       = aws_db_instance.this.username
}
