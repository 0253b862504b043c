variable "name" {
  description = "Prefix of all names, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name is 3 to 25 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "log_group_names" {
  description = "Log groups; `code`, `run` and `api` are looked into on the dashboard."
  type        = map(string)

  validation {
    condition     = alltrue([for group in ["api", "code", "run"] : contains(keys(var.log_group_names), group)])
    error_message = "log_group_names needs api, code and run."
  }
}

variable "api_function_name" {
  description = "The API's function."
  type        = string
}

variable "rotation_function_name" {
  description = "The function that rotates the database's logins."
  type        = string
}

variable "load_balancer_arn_suffix" {
  description = "The load balancer, as CloudWatch's dimension names it."
  type        = string

  validation {
    condition     = startswith(var.load_balancer_arn_suffix, "app/")
    error_message = "load_balancer_arn_suffix looks like app/NAME/50dc6c495c0c9188."
  }
}

variable "target_group_arn_suffix" {
  description = "The target group, as CloudWatch's dimension names it."
  type        = string
}

variable "dlq_name" {
  description = "The queue of what the IoT rule could not deliver."
  type        = string
}

variable "delivery_stream_names" {
  description = "The Firehose streams that write landing objects, by channel."
  type        = map(string)

  validation {
    condition     = length(var.delivery_stream_names) > 0
    error_message = "Name a stream: without one nobody is told when landing stops."
  }
}

variable "database" {
  description = "The RDS instance, its storage (GiB) and how many connections it takes."
  type = object({
    identifier            = string
    allocated_storage_gib = number
    max_connections       = number
  })

  validation {
    condition     = var.database.allocated_storage_gib > 0 && var.database.max_connections > 0
    error_message = "Storage and connections are above 0."
  }
}

variable "cluster_name" {
  description = "The ECS cluster."
  type        = string
}

variable "service_names" {
  description = "The services of Dagster by their kind."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Key of the topic; CloudWatch has to be allowed to use it."
  type        = string
}

variable "alarm_emails" {
  description = "Who is told by mail. Each has to confirm the subscription."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alarm_emails holds mail addresses."
  }
}

variable "slack" {
  description = "Slack workspace and channel that are told too; the workspace has to be authorised in the console first."
  type        = object({ workspace_id = string, channel_id = string })
  default     = null

  validation {
    condition     = var.slack == null || can(regex("^T[A-Z0-9]+ [CG][A-Z0-9]+$", "${var.slack.workspace_id} ${var.slack.channel_id}"))
    error_message = "slack is workspace_id (T…) and channel_id (C… or G…)."
  }
}

variable "runbook_url" {
  description = "Where docs/how-to/respond-to-alarms.md can be read; each alarm's description adds its section."
  type        = string

  validation {
    condition     = can(regex("^https://[^#]+$", var.runbook_url))
    error_message = "runbook_url is an https address without #section."
  }
}

variable "minimum_errors" {
  description = "Fewer failed requests in a window never raise an alarm, whatever their share is."
  type        = number
  default     = 3

  validation {
    condition     = var.minimum_errors >= 1
    error_message = "minimum_errors is at least 1."
  }
}

variable "composite_alarms" {
  description = "false only on an emulator that has no composite alarms: then the long window of a burn rate tells by itself."
  type        = bool
  default     = true
}

variable "permissions_boundary_arn" {
  description = "Boundary of the role that Slack's channel has, of the module cicd."
  type        = string
  default     = null
}
