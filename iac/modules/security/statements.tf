locals {
  # Keys are used through the service that holds what they encrypt, and in no other way.
  via = { for service in ["lambda", "s3", "secretsmanager", "sqs"] : service => { StringEquals = { "kms:ViaService" = "${service}.${local.region}.amazonaws.com" } } }

  decrypts_secrets = {
    Sid       = "OpenSecrets"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [aws_kms_key.data.arn]
    Condition = local.via.secretsmanager
  }
  # Decrypt too: S3 asks for it when the parts of a large object are put together.
  writes_objects = {
    Sid       = "EncryptObjects"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [aws_kms_key.data.arn]
    Condition = local.via.s3
  }
  reads_objects = {
    Sid       = "DecryptObjects"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [aws_kms_key.data.arn]
    Condition = local.via.s3
  }
  signs_certificates = [
    {
      Sid      = "KnowTheCertificatesKey"
      Effect   = "Allow"
      Action   = ["kms:DescribeKey", "kms:GetPublicKey"]
      Resource = [aws_kms_key.certificate.arn]
    },
    {
      Sid       = "SignCertificates"
      Effect    = "Allow"
      Action    = ["kms:Sign"]
      Resource  = [aws_kms_key.certificate.arn]
      Condition = { StringEquals = { "kms:SigningAlgorithm" = "RSASSA_PKCS1_V1_5_SHA_256" } }
    },
  ]
  writes_logs = {
    for group in local.log_group_names : group => {
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${local.log_groups[group]}:*"]
    }
  }

  # Lambda makes a function's network interfaces with the function's role; AWS takes no resource for these.
  in_the_vpc = {
    Sid    = "NetworkInterfaces"
    Effect = "Allow"
    Action = [
      "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
    ]
    Resource = ["*"]
  }
  # The function's own code has no business with them.
  no_vpc_from_within = {
    for function in ["api", "rotation"] : function => {
      Sid       = "NoNetworkInterfacesFromWithin"
      Effect    = "Deny"
      Action    = ["ec2:*"]
      Resource  = ["*"]
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = "arn:${local.partition}:lambda:${local.here}:function:${var.name}-${function}" } }
    }
  }
  opens_its_environment = {
    Sid       = "OpenItsEnvironment"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [aws_kms_key.data.arn]
    Condition = local.via.lambda
  }
  opens_and_seals_secrets = {
    Sid       = "OpenAndSealSecrets"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [aws_kms_key.data.arn]
    Condition = local.via.secretsmanager
  }

  statements = merge(local.programs, local.services)

  programs = {
    api = [
      local.writes_logs["api"],
      local.writes_objects,
      {
        Sid      = "LandMessages"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["${local.buckets.landing}/*"]
      },
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [for secret in ["lake-secret", "signing-keys", "database-app"] : local.secret_patterns[secret]]
      },
      local.decrypts_secrets,
      local.opens_its_environment,
      local.signs_certificates[0],
      local.signs_certificates[1],
      local.in_the_vpc,
      local.no_vpc_from_within["api"],
    ]

    # The login in use gives its twin a password (iac/database/rotation.sql): no owner's password is needed.
    rotation = [
      local.writes_logs["rotation"],
      {
        Sid    = "RotateLogins"
        Effect = "Allow"
        Action = [
          "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
          "secretsmanager:UpdateSecretVersionStage",
        ]
        Resource = [for secret in local.logins : local.secret_patterns[secret]]
      },
      local.opens_and_seals_secrets,
      local.opens_its_environment,
      {
        Sid       = "StartServicesAnew"
        Effect    = "Allow"
        Action    = ["ecs:UpdateService"]
        Resource  = [for service in ["webserver", "daemon", "code"] : "arn:${local.partition}:ecs:${local.here}:service/${var.name}/${service}"]
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      local.in_the_vpc,
      local.no_vpc_from_within["rotation"],
    ]

    dlq_consumer = [
      local.writes_logs["dlq-consumer"],
      local.writes_objects,
      {
        Sid      = "TakeDeadLetters"
        Effect   = "Allow"
        Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = [local.dlq_arn]
      },
      {
        Sid       = "OpenDeadLetters"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [aws_kms_key.data.arn]
        Condition = local.via.sqs
      },
      {
        Sid      = "LandMessages"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["${local.buckets.landing}/*"]
      },
    ]

    # Sensors and schedules: they look at what there is to do, and write nothing.
    code = [
      {
        Sid      = "ListObjects"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [for layer in concat(["landing", "state"], local.lake_layers) : local.buckets[layer]]
      },
      {
        Sid      = "ReadTables"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for layer in concat(["state"], local.lake_layers) : "${local.buckets[layer]}/*"]
      },
      local.reads_objects,
    ]

    run = concat([
      {
        Sid      = "ListObjects"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [for layer in concat(["landing", "state"], local.lake_layers) : local.buckets[layer]]
      },
      {
        Sid      = "ReadAndWriteObjects"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = [for layer in concat(["landing", "state"], local.lake_layers) : "${local.buckets[layer]}/*"]
      },
      {
        Sid      = "EndLargeUploads"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload"]
        Resource = [for layer in concat(["state"], local.lake_layers) : "${local.buckets[layer]}/*"]
      },
      {
        # An erased vehicle is in no older version of an object either.
        Sid      = "ListOlderVersions"
        Effect   = "Allow"
        Action   = ["s3:ListBucketVersions"]
        Resource = [for layer in concat(["landing", "state"], local.lake_layers) : local.buckets[layer]]
      },
      {
        Sid      = "EraseOlderVersions"
        Effect   = "Allow"
        Action   = ["s3:DeleteObjectVersion"]
        Resource = [for layer in concat(["landing", "state"], local.lake_layers) : "${local.buckets[layer]}/*"]
      },
      {
        Sid      = "LookIntoOlderLandings"
        Effect   = "Allow"
        Action   = ["s3:GetObjectVersion"]
        Resource = ["${local.buckets.landing}/*"]
      },
      local.writes_objects,
      ], var.alert_topic_arn == null ? [] : [
      {
        Sid      = "TellOwners"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [var.alert_topic_arn]
      },
    ])

    daemon = [
      {
        Sid       = "StartRuns"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = ["arn:${local.partition}:ecs:${local.here}:task-definition/${var.name}-run:*"]
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      {
        Sid       = "TagRunsAsTheyStart"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = [local.tasks]
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid      = "WatchAndStopRuns"
        Effect   = "Allow"
        Action   = ["ecs:DescribeTasks", "ecs:StopTask"]
        Resource = [local.tasks]
      },
      {
        # AWS takes no resource for these.
        Sid      = "KnowTheTask"
        Effect   = "Allow"
        Action   = ["ec2:DescribeNetworkInterfaces", "ecs:DescribeTaskDefinition"]
        Resource = ["*"]
      },
      {
        Sid      = "WhyARunDied"
        Effect   = "Allow"
        Action   = ["logs:GetLogEvents"]
        Resource = ["${local.log_groups["run"]}:log-stream:*"]
      },
      {
        Sid       = "HandOverRoles"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [for role in ["run", "dagster_execution"] : local.role_arns[role]]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]

    webserver = [
      {
        Sid      = "WatchAndStopRuns"
        Effect   = "Allow"
        Action   = ["ecs:DescribeTasks", "ecs:StopTask"]
        Resource = [local.tasks]
      },
      {
        Sid      = "KnowTheTask"
        Effect   = "Allow"
        Action   = ["ecs:DescribeTaskDefinition"]
        Resource = ["*"]
      },
      {
        # A tunnel for those who look at the web page, which has no front door; AWS takes no resource for these.
        Sid    = "Tunnel"
        Effect = "Allow"
        Action = [
          "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
          "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
        ]
        Resource = ["*"]
      },
    ]

    operator = [
      {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [for secret in ["lake-secret", "signing-keys"] : local.secret_patterns[secret]]
      },
      {
        # The owner's password of our database alone: RDS names such secrets by chance, and says in a tag whose it is.
        Sid       = "ReadTheOwnersPassword"
        Effect    = "Allow"
        Action    = ["secretsmanager:GetSecretValue"]
        Resource  = ["arn:${local.partition}:secretsmanager:${local.here}:secret:rds!db-*"]
        Condition = { StringEquals = { "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn" = "arn:${local.partition}:rds:${local.here}:db:${var.name}" } }
      },
      {
        Sid      = "RotateSigningKeys"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]
        Resource = [local.secret_patterns["signing-keys"]]
      },
      local.opens_and_seals_secrets,
      local.signs_certificates[0],
      local.signs_certificates[1],
    ]
  }
}
