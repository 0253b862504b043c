variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "data_key_arn" {
  description = "KMS key of all objects but access logs."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.data_key_arn))
    error_message = "data_key_arn is the ARN of a KMS key."
  }
}

variable "is_disposable" {
  description = "Whether destroying the environment may delete buckets that hold objects: never where somebody's data lies."
  type        = bool
  default     = false
}

variable "access_log_retention_days" {
  description = "How long access logs are kept (days)."
  type        = number
  default     = 90

  validation {
    condition     = var.access_log_retention_days >= 30
    error_message = "access_log_retention_days: keep access logs for 30 days at least, or nobody can look into an incident."
  }
}
