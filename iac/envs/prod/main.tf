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
}
