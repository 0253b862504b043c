variable "name" {
  description = "Prefix of all names, for example smartdrive-prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name is 3 to 25 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "repository" {
  description = "The repository on GitHub, owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository is owner/name, without wildcards: whoever matches it may deploy."
  }
}

variable "environment" {
  description = "The environment on GitHub whose jobs may apply; protect it by reviewers."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "environment is lower-case letters, digits and hyphens, without wildcards."
  }
}

variable "oidc_provider_arn" {
  description = "GitHub's OIDC provider, where the account has it already (there can be one only); null makes it."
  type        = string
  default     = null
}

variable "state_bucket_arn" {
  description = "The bucket of Terraform's state."
  type        = string
}

variable "state_key_prefix" {
  description = "Where in that bucket the state of this environment lies, for example smartdrive-prod/."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9/-]*/$", var.state_key_prefix))
    error_message = "state_key_prefix ends with a slash: other environments' state is not this one's business."
  }
}

variable "api_function_arn" {
  description = "The API's function, whose alias a deployment moves."
  type        = string
}

variable "repository_arns" {
  description = "Where images are pushed."
  type        = list(string)
}

variable "cluster_name" {
  description = "The ECS cluster, in which a deployment runs the database's migrations."
  type        = string
}
