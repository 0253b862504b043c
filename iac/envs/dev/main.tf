locals {
  consumer = "${path.root}/../../build/dlq-consumer.zip"
}

module "smartdrive" {
  source = "../../modules/environment"

  name          = "smartdrive-dev"
  is_disposable = true
  is_redundant  = false
  clients       = var.clients

  database_size = {
    instance_class        = "db.t4g.small"
    allocated_storage_gib = 20
    max_connections       = 150
  }

  consumer_package = { filename = local.consumer, source_code_hash = filebase64sha256(local.consumer) }
}
