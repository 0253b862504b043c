provider "aws" {
  region = var.region

  # An emulator on this machine: it checks no credentials and knows no account but its own.
  access_key                  = var.aws_endpoint_url == null ? null : "emulator"
  secret_key                  = var.aws_endpoint_url == null ? null : "emulator"
  skip_credentials_validation = var.aws_endpoint_url != null
  skip_metadata_api_check     = var.aws_endpoint_url != null
  skip_requesting_account_id  = false
  s3_use_path_style           = var.aws_endpoint_url != null

  dynamic "endpoints" {
    for_each = var.aws_endpoint_url == null ? [] : [var.aws_endpoint_url]

    content {
      acm                    = endpoints.value
      applicationautoscaling = endpoints.value
      chatbot                = endpoints.value
      cloudwatch             = endpoints.value
      ec2                    = endpoints.value
      ecr                    = endpoints.value
      ecs                    = endpoints.value
      elbv2                  = endpoints.value
      events                 = endpoints.value
      firehose               = endpoints.value
      iam                    = endpoints.value
      iot                    = endpoints.value
      kms                    = endpoints.value
      lambda                 = endpoints.value
      logs                   = endpoints.value
      rds                    = endpoints.value
      route53                = endpoints.value
      s3                     = endpoints.value
      scheduler              = endpoints.value
      secretsmanager         = endpoints.value
      servicediscovery       = endpoints.value
      sns                    = endpoints.value
      sqs                    = endpoints.value
      ssm                    = endpoints.value
      sts                    = endpoints.value
    }
  }

  default_tags {
    tags = {
      Application = "smartdrive"
      Environment = "prod"
      ManagedBy   = "terraform"
    }
  }
}
