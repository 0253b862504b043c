module "security" {
  source = "../security"

  name            = var.name
  is_disposable   = var.is_disposable
  alert_topic_arn = var.alert_topic_arn
}

module "network" {
  source = "../network"

  name               = var.name
  nat_gateways       = var.is_redundant ? 3 : 1
  clients            = var.clients
  flow_logs_role_arn = module.security.role_arns["flow_logs"]
  logs_key_arn       = module.security.kms_key_arns.logs
}

module "storage" {
  source = "../storage"

  name          = var.name
  data_key_arn  = module.security.kms_key_arns.data
  is_disposable = var.is_disposable
}

module "database" {
  source = "../database"

  name                  = var.name
  subnet_ids            = module.network.isolated_subnet_ids
  security_group_id     = module.network.security_group_ids["database"]
  kms_key_arns          = module.security.kms_key_arns
  instance_class        = var.database_size.instance_class
  allocated_storage_gib = var.database_size.allocated_storage_gib
  max_connections       = var.database_size.max_connections
  is_multi_az           = var.is_redundant
  backup_retention_days = var.is_disposable ? 7 : 35
  is_disposable         = var.is_disposable
}

module "ingestion" {
  source = "../ingestion"

  name             = var.name
  bucket_names     = module.storage.bucket_names
  kms_key_arns     = module.security.kms_key_arns
  role_arns        = module.security.role_arns
  consumer_package = var.consumer_package
}
