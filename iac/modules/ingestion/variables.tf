variable "name" {
  description = "Prefix of every name, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name needs 3 to 25 of a-z, 0-9 and -, the first a letter: bucket and function names are made of it."
  }
}

variable "bucket_names" {
  description = "Buckets by layer; landing is used."
  type        = object({ landing = string })
}

variable "kms_key_arns" {
  description = "Keys: data encrypts streams and the queue, logs the log groups."
  type        = object({ data = string, logs = string })
}

variable "role_arns" {
  description = "Roles of the rules, the streams and the queue's consumer."
  type        = object({ iot_rule = string, firehose = string, dlq_consumer = string })
}

variable "consumer_package" {
  description = "The consumer of dead letters: a zip on this machine, and the base64 SHA-256 of its bytes."
  type        = object({ filename = string, source_code_hash = string })

  validation {
    condition     = endswith(var.consumer_package.filename, ".zip") && can(regex("^[A-Za-z0-9+/]{43}=$", var.consumer_package.source_code_hash))
    error_message = "consumer_package needs a .zip and its filebase64sha256: make it with `make iac-package`."
  }
}

variable "buffering_seconds" {
  description = "How long messages wait to become an object (seconds): longer makes fewer, shorter makes data fresher."
  type        = number
  default     = 60

  validation {
    condition     = var.buffering_seconds >= 0 && var.buffering_seconds <= 900
    error_message = "buffering_seconds lies between 0 and 900, Firehose's most."
  }
}
