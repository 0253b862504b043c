data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  here      = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

module "security" {
  source = "../security"

  name            = var.name
  is_disposable   = var.is_disposable
  alert_topic_arn = var.alert_topic_arn

  permissions_boundary_arn = module.cicd.boundary_arn
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

module "compute" {
  source = "../compute"

  name                = var.name
  vpc_id              = module.network.vpc_id
  public_subnet_ids   = module.network.public_subnet_ids
  private_subnet_ids  = module.network.private_subnet_ids
  security_group_ids  = module.network.security_group_ids
  role_arns           = module.security.role_arns
  kms_key_arns        = module.security.kms_key_arns
  secret_arns         = module.security.secret_arns
  bucket_names        = module.storage.bucket_names
  lake_url            = module.storage.lake_url
  lake_environment    = var.lake_environment
  alerting_keys       = var.alerting_keys
  certificate_arn     = var.certificate_arn
  api_domain          = var.api_domain
  api_package         = var.api_package
  api_concurrency     = var.api_concurrency
  api_stable_version  = var.api_stable_version
  api_canary_weight   = var.api_canary_weight
  images              = var.images
  deletion_protection = !var.is_disposable

  database = {
    host              = module.database.endpoint
    port              = module.database.port
    name              = module.database.database_name
    owner             = module.database.owner
    master_secret_arn = module.database.master_secret_arn
  }
}

module "observability" {
  source = "../observability"

  name                     = var.name
  log_group_names          = module.compute.log_group_names
  api_function_name        = module.compute.api_function_name
  rotation_function_name   = module.compute.rotation_function_name
  load_balancer_arn_suffix = module.compute.load_balancer_arn_suffix
  target_group_arn_suffix  = module.compute.target_group_arn_suffix
  dlq_name                 = module.ingestion.dlq_name
  delivery_stream_names    = module.ingestion.delivery_stream_names
  cluster_name             = module.compute.cluster_name
  service_names            = module.compute.service_names
  kms_key_arn              = module.security.kms_key_arns.logs
  alarm_emails             = var.alarm_emails
  slack                    = var.slack
  runbook_url              = var.runbook_url
  composite_alarms         = var.composite_alarms
  permissions_boundary_arn = module.cicd.boundary_arn

  database = {
    identifier            = module.database.identifier
    allocated_storage_gib = module.database.allocated_storage_gib
    max_connections       = module.database.max_connections
  }
}

module "cicd" {
  source = "../cicd"

  name              = var.name
  repository        = var.repository
  environment       = var.github_environment
  oidc_provider_arn = var.oidc_provider_arn
  state_bucket_arn  = var.state_bucket_arn
  state_key_prefix  = "${var.name}/"

  # By their names: the roles of what these are have a boundary that this module makes.
  api_function_arn = "arn:${local.partition}:lambda:${local.here}:function:${var.name}-api"
  repository_arns  = [for image in ["api", "dagster"] : "arn:${local.partition}:ecr:${local.here}:repository/${var.name}/${image}"]
  cluster_name     = var.name
}
