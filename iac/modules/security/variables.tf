variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "is_disposable" {
  description = "Whether secrets and keys may go at once when the environment is destroyed: never where somebody's data lies."
  type        = bool
  default     = false
}

variable "permissions_boundary_arn" {
  description = "The most that any of these roles may ever be allowed (module cicd); null for no such bound."
  type        = string
  default     = null
}

variable "alert_topic_arn" {
  description = "SNS topic to which the lake tells owners' alerts (SMARTDRIVE_SNS_TOPIC_ARN); null where it does not."
  type        = string
  default     = null

  validation {
    condition     = var.alert_topic_arn == null || can(regex("^arn:[^:]+:sns:", var.alert_topic_arn))
    error_message = "alert_topic_arn is the ARN of an SNS topic, or null."
  }
}
