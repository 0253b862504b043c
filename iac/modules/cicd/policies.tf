# Statements of the policies. Where AWS names a resource before it exists, the statement names it by this environment's
# prefix; where it does not (a VPC's parts, key ids), the actions are listed and bound to the region.

locals {
  here    = { StringEquals = { "aws:RequestedRegion" = data.aws_region.current.name } }
  bounded = { StringEquals = { "iam:PermissionsBoundary" = "${local.aws}:iam::${local.account}:policy/${var.name}-boundary" } }
  roles   = "${local.aws}:iam::${local.account}:role/${var.name}-*"
  ci      = ["${local.aws}:iam::${local.account}:role/${var.name}-ci-*", "${local.aws}:iam::${local.account}:policy/${var.name}-*"]

  # Descriptions, never contents: s3:GetObject, kms:Decrypt and the values of secrets are not among them.
  look = [{
    Sid    = "Descriptions"
    Effect = "Allow"
    Action = [
      "acm:Describe*", "acm:List*", "chatbot:Describe*", "chatbot:List*", "cloudwatch:Describe*", "cloudwatch:GetDashboard",
      "cloudwatch:GetMetricData", "cloudwatch:List*", "ec2:Describe*", "ecr:Describe*", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy",
      "ecr:List*", "ecs:Describe*", "ecs:List*", "elasticloadbalancing:Describe*", "firehose:Describe*", "firehose:List*",
      "iam:GetOpenIDConnectProvider", "iam:GetPolicy*", "iam:GetRole*", "iam:List*", "iot:Describe*", "iot:GetPolicy*",
      "iot:GetTopicRule*", "iot:List*", "kms:Describe*", "kms:GetKey*", "kms:List*", "lambda:Get*", "lambda:List*",
      "logs:Describe*", "logs:List*", "rds:Describe*", "rds:List*", "route53:Get*", "route53:List*", "s3:GetAccelerateConfiguration",
      "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration",
      "s3:ListAllMyBuckets", "scheduler:Get*", "scheduler:List*", "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy",
      "secretsmanager:List*", "servicediscovery:Get*", "servicediscovery:List*", "sns:Get*", "sns:List*", "sqs:GetQueue*", "sqs:List*",
      "tag:Get*",
    ]
    Resource = "*"
  }]

  build = [
    {
      Sid    = "Named"
      Effect = "Allow"
      Action = [
        "chatbot:*", "cloudwatch:*", "ecr:*", "ecs:*", "elasticloadbalancing:*", "firehose:*", "iot:*", "lambda:*", "logs:*", "rds:*",
        "scheduler:*", "secretsmanager:*", "sns:*", "sqs:*",
      ]
      Resource = concat([for kind in [
        "chatbot::${local.account}:chat-configuration/slack-channel/${var.name}-*",
        "cloudwatch:${local.place}:alarm:${var.name}-*", "cloudwatch::${local.account}:dashboard/${var.name}*",
        "ecs:${local.place}:*/${var.name}*", "elasticloadbalancing:${local.place}:*/${var.name}-*",
        "elasticloadbalancing:${local.place}:*/app/${var.name}-*", "firehose:${local.place}:deliverystream/${var.name}-*",
        "iot:${local.place}:*/${var.name}*", "iot:${local.place}:rule/${replace(var.name, "-", "_")}*",
        "lambda:${local.place}:event-source-mapping:*", "logs:${local.place}:log-group:/smartdrive/${var.name}/*",
        "rds:${local.place}:*:${var.name}*", "scheduler:${local.place}:schedule/*/${var.name}-*",
        "secretsmanager:${local.place}:secret:${var.name}/*", "sns:${local.place}:${var.name}-*", "sqs:${local.place}:${var.name}-*",
      ] : "${local.aws}:${kind}"], [replace(var.api_function_arn, "/:function:.*$/", ":function:${var.name}-*")], var.repository_arns)
    },
    {
      Sid      = "Buckets"
      Effect   = "Allow"
      Action   = ["s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"]
      Resource = "${local.aws}:s3:::${var.name}-*"
    },
    {
      Sid      = "Registry"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken", "ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition", "servicediscovery:*Namespace", "servicediscovery:*Service", "servicediscovery:*Resource", "route53:CreateHostedZone", "route53:DeleteHostedZone", "route53:AssociateVPCWithHostedZone", "lambda:CreateEventSourceMapping"]
      Resource = "*"
    },
    {
      Sid    = "Network"
      Effect = "Allow"
      Action = [
        "ec2:AllocateAddress", "ec2:AssociateRouteTable", "ec2:AttachInternetGateway", "ec2:AuthorizeSecurityGroup*", "ec2:CreateFlowLogs",
        "ec2:CreateInternetGateway", "ec2:CreateNatGateway", "ec2:CreateNetworkAcl*", "ec2:CreateRoute", "ec2:CreateRouteTable",
        "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateTags", "ec2:CreateVpc", "ec2:CreateVpcEndpoint", "ec2:DeleteFlowLogs",
        "ec2:DeleteInternetGateway", "ec2:DeleteNatGateway", "ec2:DeleteNetworkAcl*", "ec2:DeleteRoute", "ec2:DeleteRouteTable",
        "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteTags", "ec2:DeleteVpc", "ec2:DeleteVpcEndpoints",
        "ec2:DetachInternetGateway", "ec2:DisassociateRouteTable", "ec2:ModifySecurityGroupRules", "ec2:ModifySubnetAttribute",
        "ec2:ModifyVpcAttribute", "ec2:ModifyVpcEndpoint", "ec2:ReleaseAddress", "ec2:ReplaceRoute*", "ec2:RevokeSecurityGroup*",
        "ec2:UpdateSecurityGroupRuleDescriptions*",
      ]
      Resource  = "*"
      Condition = local.here
    },
    {
      Sid       = "Keys"
      Effect    = "Allow"
      Action    = ["kms:CreateAlias", "kms:CreateGrant", "kms:CreateKey", "kms:DeleteAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription"]
      Resource  = "*"
      Condition = local.here
    },
    {
      Sid       = "RolesWithinTheBoundary"
      Effect    = "Allow"
      Action    = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
      Resource  = local.roles
      Condition = local.bounded
    },
    {
      Sid      = "RolesOtherwise"
      Effect   = "Allow"
      Action   = ["iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole*"]
      Resource = local.roles
    },
    {
      Sid       = "RolesOfComponents"
      Effect    = "Allow"
      Action    = "iam:PassRole"
      Resource  = local.roles
      Condition = { StringEquals = { "iam:PassedToService" = ["chatbot.amazonaws.com", "ecs-tasks.amazonaws.com", "firehose.amazonaws.com", "iot.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com", "vpc-flow-logs.amazonaws.com", "monitoring.rds.amazonaws.com"] } }
    },
    {
      Sid      = "Migrations"
      Effect   = "Allow"
      Action   = ["ecs:RunTask", "ecs:DescribeTasks"]
      Resource = ["${local.aws}:ecs:${local.place}:task-definition/${var.name}-operator:*", "${local.aws}:ecs:${local.place}:task/${var.cluster_name}/*"]
    },
  ]

  # A deployment changes neither who may deploy nor what bounds it, and opens no secret.
  guard = [
    {
      Sid      = "NoKeysForPeople"
      Effect   = "Deny"
      Action   = ["iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:CreateUser", "iam:AddUserToGroup", "iam:DeleteRolePermissionsBoundary"]
      Resource = "*"
    },
    {
      Sid      = "NotItself"
      Effect   = "Deny"
      Action   = ["iam:Attach*", "iam:CreatePolicyVersion", "iam:Delete*", "iam:Detach*", "iam:PassRole", "iam:Put*", "iam:SetDefaultPolicyVersion", "iam:Update*"]
      Resource = local.ci
    },
    {
      Sid      = "NoSecret"
      Effect   = "Deny"
      Action   = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue", "ssm:StartSession", "ecs:ExecuteCommand"]
      Resource = "*"
    },
    {
      Sid         = "NoData"
      Effect      = "Deny"
      Action      = ["s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*"]
      NotResource = ["${var.state_bucket_arn}/${var.state_key_prefix}*"]
    },
  ]

  state_list = {
    Sid       = "State"
    Effect    = "Allow"
    Action    = ["s3:ListBucket"]
    Resource  = var.state_bucket_arn
    Condition = { StringLike = { "s3:prefix" = ["${var.state_key_prefix}*"] } }
  }
  state_read = [
    local.state_list,
    { Effect = "Allow", Action = ["s3:GetObject"], Resource = "${var.state_bucket_arn}/${var.state_key_prefix}*" },
  ]
  state_write = [
    local.state_list,
    { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = "${var.state_bucket_arn}/${var.state_key_prefix}*" },
    { Effect = "Allow", Action = ["s3:DeleteObject"], Resource = "${var.state_bucket_arn}/${var.state_key_prefix}*.tflock" },
  ]

  boundary = [
    {
      Sid    = "OfThisEnvironment"
      Effect = "Allow"
      Action = ["ecs:*Task", "ecs:*Tasks", "ecs:TagResource", "firehose:PutRecord*", "iam:PassRole", "lambda:InvokeFunction", "logs:*", "s3:*", "secretsmanager:*", "sns:Publish", "sqs:*", "iot:Publish"]
      Resource = concat([for kind in [
        "ecs:${local.place}:*/${var.name}*", "firehose:${local.place}:deliverystream/${var.name}-*", "iam::${local.account}:role/${var.name}-*",
        "lambda:${local.place}:function:${var.name}-*", "logs:${local.place}:log-group:/smartdrive/${var.name}/*", "s3:::${var.name}-*",
        "secretsmanager:${local.place}:secret:${var.name}/*", "secretsmanager:${local.place}:secret:rds!*", "sns:${local.place}:*",
        "sqs:${local.place}:${var.name}-*", "iot:${local.place}:topic/*",
      ] : "${local.aws}:${kind}"], var.repository_arns)
    },
    {
      Sid      = "Keys"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:GetPublicKey", "kms:ReEncrypt*", "kms:Sign"]
      Resource = "${local.aws}:kms:${local.place}:key/*"
    },
    {
      Sid    = "WithoutAName"
      Effect = "Allow"
      Action = [
        "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ec2:UnassignPrivateIpAddresses", "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer", "ecs:DescribeTaskDefinition", "logs:DescribeLogGroups",
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
      ]
      Resource  = "*"
      Condition = local.here
    },
  ]
}
