variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "subnet_ids" {
  description = "Isolated subnets, in two zones at least."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids needs subnets in two zones at least: RDS asks for them."
  }
}

variable "security_group_id" {
  description = "The group that the API and Dagster may reach."
  type        = string
}

variable "kms_key_arns" {
  description = "Keys: data encrypts storage, backups and the password; logs the log groups."
  type        = object({ data = string, logs = string })
}

variable "engine_version" {
  description = "Major version of PostgreSQL; RDS keeps the minor one current."
  type        = string
  default     = "17"

  validation {
    condition     = contains(["17", "18"], var.engine_version)
    error_message = "engine_version is 17 or 18: the API is tested with these."
  }
}

variable "instance_class" {
  description = "Class of the instance."
  type        = string
  default     = "db.t4g.small"

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class is one of RDS, for example db.t4g.small."
  }
}

variable "allocated_storage_gib" {
  description = "Storage at the start (GiB); RDS grows it to four times as much."
  type        = number
  default     = 20

  validation {
    condition     = var.allocated_storage_gib >= 20 && var.allocated_storage_gib <= 16384
    error_message = "allocated_storage_gib lies between 20, gp3's least, and 16384."
  }
}

variable "max_connections" {
  description = "Connections that the server takes; about one for each 10 MB of its memory."
  type        = number
  default     = 150

  validation {
    condition     = var.max_connections >= 50 && var.max_connections <= 5000
    error_message = "max_connections lies between 50 and 5000."
  }
}

variable "is_multi_az" {
  description = "Whether a standby in another zone takes over when the instance fails."
  type        = bool
  default     = false
}

variable "backup_retention_days" {
  description = "How far back the database can be restored to any moment (days)."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 7 && var.backup_retention_days <= 35
    error_message = "backup_retention_days lies between 7 and 35, RDS's most."
  }
}

variable "is_disposable" {
  description = "Whether the database may be destroyed without a last snapshot: never where somebody's data lies."
  type        = bool
  default     = false
}
