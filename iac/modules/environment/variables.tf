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

variable "api_domain" {
  description = "Host name of the API, for example api.example.org."
  type        = string
}

variable "certificate_arn" {
  description = "ACM certificate of that name, in this region."
  type        = string
}

variable "api_package" {
  description = "The API's Lambda package (`make lambda`): a file or an object in S3, and the base64 SHA-256 of its bytes."
  type = object({
    filename         = optional(string)
    s3_bucket        = optional(string)
    s3_key           = optional(string)
    source_code_hash = string
  })
}

variable "images" {
  description = "Images by digest."
  type        = object({ dagster = string, api = string })
}

variable "api_concurrency" {
  description = "Requests that the API answers at once."
  type        = number
  default     = 20
}

variable "api_stable_version" {
  description = "During a canary: the version that answers everything but the canary's share."
  type        = string
  default     = null
}

variable "api_canary_weight" {
  description = "During a canary: the share of the newest version."
  type        = number
  default     = 0.1
}

variable "lake_environment" {
  description = "Further settings of the lake, such as SMARTDRIVE_TIME_ZONE; never a secret."
  type        = map(string)
  default     = {}
}

variable "alerting_keys" {
  description = "Which keys the secret `alerting` holds."
  type        = set(string)
  default     = []
}

variable "alarm_emails" {
  description = "Who is told of alarms by mail."
  type        = list(string)
  default     = []
}

variable "slack" {
  description = "Slack workspace and channel that are told too."
  type        = object({ workspace_id = string, channel_id = string })
  default     = null
}

variable "runbook_url" {
  description = "Where docs/how-to/respond-to-alarms.md can be read."
  type        = string
}

variable "repository" {
  description = "The repository on GitHub, owner/name."
  type        = string
}

variable "oidc_provider_arn" {
  description = "GitHub's OIDC provider where the account has it already; null makes it."
  type        = string
  default     = null
}

variable "state_bucket_arn" {
  description = "The bucket of Terraform's state."
  type        = string
}

variable "github_environment" {
  description = "The environment on GitHub whose jobs may apply."
  type        = string
}

variable "composite_alarms" {
  description = "false on an emulator that knows no composite alarms."
  type        = bool
  default     = true
}
