# Dagster on Fargate: webserver, daemon and code location as services; each run is a task of its own, which the daemon
# starts (containers/dagster-ecs.yaml). Nothing here listens outside the VPC.

locals {
  workspace = "/opt/smartdrive/workspace.yaml"

  dagster_environment = {
    AWS_REGION                = local.region
    HOME                      = "/tmp"
    DAGSTER_HOME              = "/opt/smartdrive/dagster"
    DAGSTER_DISABLE_TELEMETRY = "1"
    PYTHONUNBUFFERED          = "1"
    PGSSLMODE                 = "verify-full"
    PGSSLROOTCERT             = local.authorities.container
    DAGSTER_POSTGRES_HOST     = var.database.host
    DAGSTER_POSTGRES_PORT     = tostring(var.database.port)
    SMARTDRIVE_RUN_TASK       = "${var.name}-run"
    SMARTDRIVE_CODE_HOST      = "code.${aws_service_discovery_private_dns_namespace.this.name}"
  }

  lake_environment = merge(local.dagster_environment, {
    SMARTDRIVE_LAKE_URL    = var.lake_url
    SMARTDRIVE_LANDING_URL = "s3://${var.bucket_names.landing}"
    SMARTDRIVE_STATE_URL   = "s3://${var.bucket_names.state}/state"
    SMARTDRIVE_SERVING_URL = "postgresql://${local.database}/${var.database.name}?${local.database_tls.container}"
    SMARTDRIVE_EMF_METRICS = "true"
  }, var.lake_environment)

  operator_environment = {
    AWS_REGION                           = local.region
    HOME                                 = "/tmp"
    SMARTDRIVE_API_ISSUER                = "https://${var.api_domain}"
    SMARTDRIVE_API_LANDING_URL           = "s3://${var.bucket_names.landing}"
    SMARTDRIVE_API_DATABASE_URL          = "postgresql://${var.database.owner}@${local.database}/${var.database.name}?${local.database_tls.container}"
    SMARTDRIVE_API_DATABASE_PASSWORD     = "secretsmanager:${var.database.master_secret_arn}#password"
    SMARTDRIVE_API_SIGNING_KEYS          = "secretsmanager:${var.name}/signing-keys"
    SMARTDRIVE_API_LAKE_SECRET           = "secretsmanager:${var.name}/lake-secret"
    SMARTDRIVE_API_CERTIFICATE_AUTHORITY = "kms:${var.kms_key_arns.certificate}"
  }

  # User and password: a rotation changes both.
  dagster_secrets = {
    DAGSTER_POSTGRES_USER     = "${aws_secretsmanager_secret.login["database-dagster"].arn}:username::"
    DAGSTER_POSTGRES_PASSWORD = "${aws_secretsmanager_secret.login["database-dagster"].arn}:password::"
  }

  sensor_secrets = merge(
    local.dagster_secrets,
    {
      PGUSER     = "${aws_secretsmanager_secret.login["database-serving"].arn}:username::"
      PGPASSWORD = "${aws_secretsmanager_secret.login["database-serving"].arn}:password::"
    },
    { for key in var.alerting_keys : "SMARTDRIVE_${upper(key)}" => "${var.secret_arns["alerting"]}:${key}::" },
  )

  tasks = {
    webserver = {
      role        = var.role_arns.webserver
      image       = var.images.dagster
      command     = ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000", "-w", local.workspace]
      port        = 3000
      health      = ["CMD", "python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/server_info', timeout=5)"]
      environment = local.dagster_environment
      secrets     = local.dagster_secrets
      volumes     = { tmp = "/tmp", agent = "/var/lib/amazon", agent-log = "/var/log/amazon" } # for the agent of ECS exec
    }
    daemon = {
      role        = var.role_arns.daemon
      image       = var.images.dagster
      command     = ["dagster-daemon", "run", "-w", local.workspace]
      port        = null
      health      = ["CMD", "dagster-daemon", "liveness-check"]
      environment = local.dagster_environment
      secrets     = local.dagster_secrets
      volumes     = { tmp = "/tmp" }
    }
    code = {
      role        = var.role_arns.code
      image       = var.images.dagster
      command     = ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "smartdrive_dagster.definitions"]
      port        = 4000
      health      = ["CMD", "dagster", "api", "grpc-health-check", "-p", "4000"]
      environment = local.lake_environment
      secrets     = local.sensor_secrets
      volumes     = { tmp = "/tmp" }
    }
    run = {
      role        = var.role_arns.run
      image       = var.images.dagster
      command     = ["dagster", "--version"] # the daemon gives the command of the run
      port        = null
      health      = null
      environment = local.lake_environment
      secrets     = merge(local.sensor_secrets, { SMARTDRIVE_SECRET = var.secret_arns["lake-secret"] })
      volumes     = { tmp = "/tmp" }
    }
    operator = {
      role        = var.role_arns.operator
      image       = var.images.api
      command     = ["smartdrive-api", "--help"] # whoever starts the task gives the command
      port        = null
      health      = null
      environment = local.operator_environment
      secrets     = {}
      volumes     = { tmp = "/tmp" }
    }
  }

  # One daemon per database: the old one ends before the new one begins.
  services = {
    webserver = { minimum = 100, maximum = 200 }
    daemon    = { minimum = 0, maximum = 100 }
    code      = { minimum = 100, maximum = 200 }
  }
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.tasks

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes[each.key].cpu
  memory                   = var.sizes[each.key].memory
  execution_role_arn       = var.role_arns.dagster_execution
  task_role_arn            = each.value.role

  runtime_platform {
    cpu_architecture        = var.cpu_architecture
    operating_system_family = "LINUX"
  }

  dynamic "volume" {
    for_each = each.value.volumes

    content {
      name = volume.key
    }
  }

  container_definitions = jsonencode([merge(
    {
      name                   = each.key
      image                  = each.value.image
      command                = each.value.command
      essential              = true
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      stopTimeout            = 120
      environment            = [for name, value in each.value.environment : { name = name, value = value }]
      secrets                = [for name, source in each.value.secrets : { name = name, valueFrom = source }]
      mountPoints            = [for volume, path in each.value.volumes : { sourceVolume = volume, containerPath = path, readOnly = false }]
      portMappings           = each.value.port == null ? [] : [{ containerPort = each.value.port, hostPort = each.value.port, protocol = "tcp" }]
      linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this[each.key].name
          awslogs-region        = local.region
          awslogs-stream-prefix = each.key
        }
      }
    },
    each.value.health == null ? {} : {
      healthCheck = { command = each.value.health, interval = 60, timeout = 30, retries = 3, startPeriod = 120 }
    },
  )])
}

resource "aws_ecs_service" "this" {
  #checkov:skip=CKV_AWS_332:LATEST is the default of what is left out

  for_each = local.services

  name                               = each.key
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this[each.key].arn
  desired_count                      = 1
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  deployment_minimum_healthy_percent = each.value.minimum
  deployment_maximum_percent         = each.value.maximum
  enable_execute_command             = each.key == "webserver" # the way to its page: a forwarded port
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_ids.dagster]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = each.key == "code" ? [aws_service_discovery_service.code.arn] : []

    content {
      registry_arn = service_registries.value
    }
  }
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "Where webserver and daemon find the code location."
  vpc         = var.vpc_id
}

resource "aws_service_discovery_service" "code" {
  name = "code"

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

# Ended sessions and registrations that nobody confirmed go once a day.
resource "aws_scheduler_schedule" "tidy" {
  name                = "${var.name}-tidy"
  description         = "smartdrive-api tidy"
  schedule_expression = "cron(40 3 * * ? *)"
  kms_key_arn         = var.kms_key_arns.data

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 15
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = var.role_arns.scheduler
    input    = jsonencode({ containerOverrides = [{ name = "operator", command = ["smartdrive-api", "tidy"] }] })

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this["operator"].arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = var.private_subnet_ids
        security_groups  = [var.security_group_ids.dagster]
        assign_public_ip = false
      }
    }

    retry_policy {
      maximum_retry_attempts = 2
    }
  }
}
