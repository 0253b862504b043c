variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "is_disposable" {
  description = "Whether the environment may be destroyed with its data: never where somebody's data lies."
  type        = bool
}

variable "is_redundant" {
  description = "Whether it outlives the loss of a zone: a standby database and a NAT gateway in each zone."
  type        = bool
}

variable "clients" {
  description = "Networks that may call the API."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "database_size" {
  description = "Instance class, storage at the start (GiB) and connections of PostgreSQL."
  type = object({
    instance_class        = string
    allocated_storage_gib = number
    max_connections       = number
  })
}

variable "alert_topic_arn" {
  description = "SNS topic to which the lake tells owners' alerts; null where it does not."
  type        = string
  default     = null
}

variable "consumer_package" {
  description = "Package of the dead letters' consumer (`make iac-package`)."
  type        = object({ filename = string, source_code_hash = string })
}
