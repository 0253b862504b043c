mock_provider "aws" {
  source = "../../tests"
}

variables {
  name              = "smartdrive-test"
  subnet_ids        = ["subnet-0", "subnet-1", "subnet-2"]
  security_group_id = "sg-0"
  kms_key_arns = {
    data = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"
    logs = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  }
}

run "database" {
  command = apply

  assert {
    condition     = { for one in aws_db_parameter_group.this.parameter : one.name => one.value if one.name != "max_connections" } == { "rds.force_ssl" = "1", "ssl_min_protocol_version" = "TLSv1.3", "password_encryption" = "scram-sha-256" }
    error_message = "Nobody connects but by TLS 1.3."
  }

  assert {
    condition     = aws_db_instance.this.parameter_group_name == aws_db_parameter_group.this.name && aws_db_parameter_group.this.family == "postgres17"
    error_message = "The instance uses these parameters."
  }

  assert {
    condition     = aws_db_instance.this.publicly_accessible == false && aws_db_instance.this.vpc_security_group_ids == toset(["sg-0"]) && aws_db_subnet_group.this.subnet_ids == toset(["subnet-0", "subnet-1", "subnet-2"])
    error_message = "The database has no public address and lies in the subnets and the group given."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == var.kms_key_arns.data && aws_db_instance.this.performance_insights_kms_key_id == var.kms_key_arns.data
    error_message = "Storage, backups and statistics are encrypted with our key."
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.master_user_secret_kms_key_id == var.kms_key_arns.data
    error_message = "RDS makes and rotates the master password; Terraform knows none."
  }

  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && !aws_db_instance.this.delete_automated_backups
    error_message = "Nobody deletes the database in passing."
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 14
    error_message = "It can be restored to any moment of two weeks."
  }

  assert {
    condition     = aws_db_instance.this.ca_cert_identifier == "rds-ca-rsa2048-g1"
    error_message = "The authority that vouches for it is the one that clients have."
  }

  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 30 && group.kms_key_id == var.kms_key_arns.logs])
    error_message = "The server's logs end and are encrypted."
  }
}

run "a_region_whose_root_nobody_has" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { name = "xx-nowhere-1", id = "xx-nowhere-1" }
  }

  expect_failures = [aws_db_instance.this]
}

run "what_is_refused" {
  command = plan

  variables {
    subnet_ids            = ["subnet-0"]
    engine_version        = "9.6"
    instance_class        = "large"
    allocated_storage_gib = 5
    max_connections       = 10
    backup_retention_days = 0
  }

  expect_failures = [var.subnet_ids, var.engine_version, var.instance_class, var.allocated_storage_gib, var.max_connections, var.backup_retention_days]
}
