variable "name" {
  description = "Prefix of all names, for example smartdrive-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "name is 3 to 25 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "vpc_id" {
  description = "The VPC of everything here."
  type        = string
}

variable "public_subnet_ids" {
  description = "Where the load balancer stands: subnets of at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs public subnets of at least two zones."
  }
}

variable "private_subnet_ids" {
  description = "Where Lambda and the containers run."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "Give private subnets of at least two zones, so that one may fail."
  }
}

variable "security_group_ids" {
  description = "Security groups of the network module."
  type = object({
    load_balancer = string
    api           = string
    dagster       = string
    rotation      = string
  })
}

variable "role_arns" {
  description = "One role per component, of the security module."
  type = object({
    api               = string
    operator          = string
    rotation          = string
    scheduler         = string
    dagster_execution = string
    webserver         = string
    daemon            = string
    code              = string
    run               = string
  })
}

variable "kms_key_arns" {
  description = "Keys: data (environment, images), logs, certificate (RSA, vouches for certificates)."
  type = object({
    data        = string
    logs        = string
    certificate = string
  })
}

variable "secret_arns" {
  description = "Secrets by their short names; the containers get them by ARN, Lambda reads them by name."
  type        = map(string)

  validation {
    condition = alltrue([
      for secret in ["lake-secret", "signing-keys", "alerting"] :
      contains(keys(var.secret_arns), secret)
    ])
    error_message = "secret_arns needs lake-secret, signing-keys and alerting."
  }
}

variable "bucket_names" {
  description = "Buckets that are named here."
  type = object({
    landing = string
    state   = string
    logs    = string
  })
}

variable "lake_url" {
  description = "SMARTDRIVE_LAKE_URL: root of the Delta tables."
  type        = string

  validation {
    condition     = startswith(var.lake_url, "s3://")
    error_message = "lake_url is s3://bucket/prefix: containers have no disk that stays."
  }
}

variable "database" {
  description = "PostgreSQL: where it is, the API's database, and the secret that RDS keeps of its owner."
  type = object({
    host              = string
    port              = number
    name              = string
    owner             = optional(string, "postgres")
    master_secret_arn = string
  })
}

variable "certificate_arn" {
  description = "ACM certificate of api_domain, in this region."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:acm:", var.certificate_arn))
    error_message = "certificate_arn is the ARN of an ACM certificate."
  }
}

variable "api_domain" {
  description = "Host name of the API; https://api_domain is the issuer of its tokens."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.api_domain))
    error_message = "api_domain is a host name such as api.example.org, without scheme and path."
  }
}

variable "api_package" {
  description = "The Lambda package that `make lambda` builds: a file, or an object in S3; with the base64 SHA-256 of its bytes."
  type = object({
    filename         = optional(string)
    s3_bucket        = optional(string)
    s3_key           = optional(string)
    source_code_hash = string
  })

  validation {
    condition = (
      (var.api_package.filename != null) != (var.api_package.s3_bucket != null)
      && (var.api_package.s3_bucket != null) == (var.api_package.s3_key != null)
    )
    error_message = "api_package is either filename, or s3_bucket together with s3_key."
  }
}

variable "api_runtime" {
  description = "Python of the Lambda function: the one that the package's wheels were made for."
  type        = string
  default     = "python3.13"

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.api_runtime)
    error_message = "SmartDrive runs on Python 3.11 to 3.13."
  }
}

variable "api_memory_mib" {
  description = "Memory of the function (MiB). Processor time grows with it; 1,769 are one processor, which password hashing wants."
  type        = number
  default     = 1769

  validation {
    condition     = var.api_memory_mib >= 512 && var.api_memory_mib <= 10240
    error_message = "api_memory_mib is between 512 and 10240."
  }
}

variable "api_timeout_s" {
  description = "Longest answer of the function (seconds); below the load balancer's idle time of 60."
  type        = number
  default     = 29

  validation {
    condition     = var.api_timeout_s >= 5 && var.api_timeout_s < 60
    error_message = "api_timeout_s is at least 5 and below 60, after which the load balancer gives up."
  }
}

variable "api_concurrency" {
  description = "Requests answered at once (reserved concurrency). Each holds a connection to the database."
  type        = number
  default     = 20

  validation {
    condition     = var.api_concurrency >= 1 && var.api_concurrency <= 1000
    error_message = "api_concurrency is between 1 and 1000; 0 would switch the API off."
  }
}

variable "api_stable_version" {
  description = "During a canary: the version that answers everything but the canary's share. null: the newest answers everything."
  type        = string
  default     = null

  validation {
    condition     = var.api_stable_version == null || can(regex("^[1-9][0-9]*$", var.api_stable_version))
    error_message = "api_stable_version is the number of a published version; $LATEST is none."
  }
}

variable "api_canary_weight" {
  description = "During a canary: the share of requests (0 to 0.5) that the newest version answers."
  type        = number
  default     = 0.1

  validation {
    condition     = var.api_canary_weight >= 0 && var.api_canary_weight <= 0.5
    error_message = "api_canary_weight is between 0 and 0.5: a larger share is a release and no canary."
  }
}

variable "images" {
  description = "Container images by digest: dagster (webserver, daemon, code location, runs) and api (the operators' commands)."
  type = object({
    dagster = string
    api     = string
  })

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name images by digest, repository@sha256:…: a tag may be moved."
  }
}

variable "cpu_architecture" {
  description = "What the images were built for."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture is ARM64 or X86_64."
  }
}

variable "sizes" {
  description = "CPU units (1,024 are one processor) and memory (MiB) of each kind of task."
  type        = map(object({ cpu = number, memory = number }))
  default = {
    webserver = { cpu = 512, memory = 1024 }
    daemon    = { cpu = 512, memory = 1024 }
    code      = { cpu = 512, memory = 2048 }
    run       = { cpu = 1024, memory = 4096 }
    operator  = { cpu = 256, memory = 512 }
  }

  validation {
    condition     = toset(keys(var.sizes)) == toset(["webserver", "daemon", "code", "run", "operator"])
    error_message = "sizes has webserver, daemon, code, run and operator, and nothing else."
  }

  validation {
    condition = alltrue([
      for size in values(var.sizes) :
      contains([256, 512, 1024, 2048, 4096, 8192, 16384], size.cpu)
      && size.memory >= 2 * size.cpu
      && size.memory <= (size.cpu < 8192 ? (size.cpu == 256 ? 2048 : 8 * size.cpu) : 7.5 * size.cpu)
      && size.memory % (size.cpu < 8192 ? (size.cpu == 256 ? 512 : 1024) : (size.cpu == 8192 ? 4096 : 8192)) == 0
    ])
    error_message = "Fargate takes 256 to 16384 CPU units and from two to about eight MiB of memory per unit, in whole GiB (256 units: 512, 1024 or 2048 MiB)."
  }
}

variable "lake_environment" {
  description = "Further SMARTDRIVE_… settings of code location and runs, for example SMARTDRIVE_TIME_ZONE; never a secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.lake_environment) : startswith(name, "SMARTDRIVE_")])
    error_message = "lake_environment holds variables that begin with SMARTDRIVE_."
  }

  validation {
    condition = length(setintersection(keys(var.lake_environment), [
      "SMARTDRIVE_SECRET", "SMARTDRIVE_SLACK_WEBHOOK", "SMARTDRIVE_SMTP_URL", "SMARTDRIVE_WEBHOOK_URL"
    ])) == 0
    error_message = "Secrets go to Secrets Manager: whoever may look at a task definition sees its environment."
  }
}

variable "alerting_keys" {
  description = "Which keys the secret `alerting` holds: of slack_webhook, smtp_url and webhook_url. A task does not start where one is missing."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.alerting_keys, ["slack_webhook", "smtp_url", "webhook_url"])) == 0
    error_message = "alerting_keys are slack_webhook, smtp_url and webhook_url."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept (days)."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days is one that CloudWatch Logs offers: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731."
  }
}

variable "rotation_days" {
  description = "How often the logins of the database rotate (days). The one before is valid as long again."
  type        = number
  default     = 30

  validation {
    condition     = var.rotation_days >= 1 && var.rotation_days <= 90
    error_message = "rotation_days is between 1 and 90."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted, and a secret that was can be restored for 30 days."
  type        = bool
  default     = true
}
