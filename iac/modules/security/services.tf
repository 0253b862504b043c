locals {
  # What AWS does on our behalf: these calls are made by AWS itself, as its documentation lists them.
  services = {
    dagster_execution = [
      {
        # AWS takes no resource for it.
        Sid      = "SignInToTheRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
      {
        Sid      = "PullImages"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = ["arn:${local.partition}:ecr:${local.here}:repository/${var.name}/*"]
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in ["webserver", "daemon", "code", "run", "operator"] : "${local.log_groups[group]}:*"]
      },
      {
        Sid      = "HandOutSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [for secret in ["lake-secret", "database-dagster", "database-serving", "alerting"] : local.secret_patterns[secret]]
      },
      local.decrypts_secrets,
    ]

    scheduler = [
      {
        Sid       = "StartOperatorsTasks"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = ["arn:${local.partition}:ecs:${local.here}:task-definition/${var.name}-operator:*"]
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      {
        Sid       = "HandOverRoles"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [for role in ["operator", "dagster_execution"] : local.role_arns[role]]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]

    firehose = [
      {
        Sid      = "LandMessages"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        Resource = ["${local.buckets.landing}/*"]
      },
      {
        Sid      = "KnowTheLandingZone"
        Effect   = "Allow"
        Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [local.buckets.landing]
      },
      local.writes_objects,
      {
        Sid      = "SayWhyDeliveryFails"
        Effect   = "Allow"
        Action   = ["logs:PutLogEvents"]
        Resource = ["${local.log_groups["firehose"]}:log-stream:*"]
      },
    ]

    iot_rule = [
      {
        Sid      = "HandMessagesOn"
        Effect   = "Allow"
        Action   = ["firehose:PutRecord"]
        Resource = [local.streams]
      },
      {
        Sid      = "KeepWhatCouldNotBeHandedOn"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [local.dlq_arn]
      },
      {
        Sid       = "SealDeadLetters"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [aws_kms_key.data.arn]
        Condition = local.via.sqs
      },
    ]

    flow_logs = [
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = ["${local.log_groups["flow"]}:*"]
      },
    ]
  }
}
