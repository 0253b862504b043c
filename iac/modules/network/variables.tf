variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "cidr_block" {
  description = "Addresses of the VPC: a /16 of RFC 1918 that no network it may be joined to uses."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr_block, 0)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.).*/16$", var.cidr_block))
    error_message = "cidr_block must be a private /16, for example 10.40.0.0/16: nine subnets are cut out of it."
  }
}

variable "nat_gateways" {
  description = "How many NAT gateways lead the private subnets out (weather, Slack, mail): 1 costs least, 3 outlives the loss of a zone."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 3], var.nat_gateways)
    error_message = "nat_gateways is 1 or 3, one for each zone."
  }
}

variable "clients" {
  description = "Networks that may call the API's load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.clients) > 0 && alltrue([for network in var.clients : can(cidrhost(network, 0))])
    error_message = "clients needs at least one network in CIDR notation."
  }
}

variable "flow_logs_role_arn" {
  description = "Role that writes the flow logs."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "flow_log_retention_days" {
  description = "How long flow logs are kept (days)."
  type        = number
  default     = 30

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365], var.flow_log_retention_days)
    error_message = "flow_log_retention_days is one that CloudWatch knows: 7, 14, 30, 60, 90, 180 or 365."
  }
}
