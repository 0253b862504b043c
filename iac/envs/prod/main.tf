locals {
  consumer = "${path.root}/../../build/dlq-consumer.zip"
}

module "smartdrive" {
  source = "../../modules/environment"

  name          = "smartdrive-prod"
  is_disposable = false
  is_redundant  = true
  clients       = var.clients

  database_size = {
    instance_class        = "db.m7g.large"
    allocated_storage_gib = 100
    max_connections       = 600
  }

  consumer_package = { filename = local.consumer, source_code_hash = filebase64sha256(local.consumer) }

  api_domain         = var.api_domain
  certificate_arn    = var.certificate_arn
  api_package        = var.api_package
  images             = var.images
  api_concurrency    = var.api_concurrency
  api_stable_version = var.api_stable_version
  api_canary_weight  = var.api_canary_weight
  lake_environment   = var.lake_environment
  alerting_keys      = var.alerting_keys
  alarm_emails       = var.alarm_emails
  slack              = var.slack
  runbook_url        = var.runbook_url
  repository         = var.repository
  oidc_provider_arn  = var.oidc_provider_arn
  state_bucket_arn   = var.state_bucket_arn

  github_environment = "prod"
  composite_alarms   = var.aws_endpoint_url == null
}
