variable "region" {
  description = "Region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "aws_endpoint_url" {
  description = "An emulator on this machine in place of AWS, http://127.0.0.1:PORT; null for AWS itself."
  type        = string
  default     = null

  validation {
    condition     = var.aws_endpoint_url == null || can(regex("^http://(127\\.0\\.0\\.1|localhost|\\[::1\\]):[0-9]+$", var.aws_endpoint_url))
    error_message = "aws_endpoint_url is http://127.0.0.1:PORT, on this machine alone: whoever answers there is told everything."
  }
}

variable "clients" {
  description = "Networks that may call the API."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}
