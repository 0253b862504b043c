data "aws_region" "current" {}

locals {
  # By these all clients see who the database is (modules/compute); each region has its own.
  authority   = "rds-ca-rsa2048-g1"
  authorities = file("${path.module}/../../database/${local.authority}.pem")

  port          = 5432
  database_name = "smartdrive"
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Isolated subnets of ${var.name}"
  subnet_ids  = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres${var.engine_version}"
  description = "TLS 1.3 or nothing"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "ssl_min_protocol_version"
    value = "TLSv1.3"
  }

  parameter {
    name  = "password_encryption"
    value = "scram-sha-256"
  }

  parameter {
    name         = "max_connections"
    value        = tostring(var.max_connections)
    apply_method = "pending-reboot"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Made before RDS would make them: those would never end and have no key of ours.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:kept 30 days, or as long as a variable says: they hold no data of vehicles, and are looked at within weeks

  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.value}"
  retention_in_days = 30
  kms_key_id        = var.kms_key_arns.logs
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:Performance Insights is on; enhanced monitoring would need one more role
  #checkov:skip=CKV_AWS_157:is_multi_az says so: true in prod
  #checkov:skip=CKV_AWS_161:three logins with passwords from Secrets Manager; tokens of 15 minutes would have to be renewed by each
  #checkov:skip=CKV_AWS_293:is_disposable says so: protected in prod

  identifier     = var.name
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = var.instance_class
  db_name        = local.database_name
  port           = local.port

  # RDS makes the password, keeps it in Secrets Manager and rotates it every seven days; nobody here ever sees it.
  username                      = "postgres"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arns.data

  allocated_storage     = var.allocated_storage_gib
  max_allocated_storage = 4 * var.allocated_storage_gib
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arns.data

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.security_group_id]
  publicly_accessible    = false
  multi_az               = var.is_multi_az
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = local.authority

  backup_retention_period   = var.backup_retention_days
  backup_window             = "01:00-02:00"
  maintenance_window        = "sun:02:30-sun:03:30"
  copy_tags_to_snapshot     = true
  delete_automated_backups  = var.is_disposable
  deletion_protection       = !var.is_disposable
  skip_final_snapshot       = var.is_disposable
  final_snapshot_identifier = var.is_disposable ? null : "${var.name}-last"

  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arns.data

  depends_on = [aws_cloudwatch_log_group.this]

  lifecycle {
    precondition {
      condition     = strcontains(local.authorities, "\n# ${data.aws_region.current.name}\n")
      error_message = "No client would know the database: iac/database/${local.authority}.pem has no root of this region. The module's README says where it comes from."
    }
  }
}
