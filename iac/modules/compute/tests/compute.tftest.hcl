mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/smartdrive-test-api/50dc6c495c0c9188"
      arn_suffix = "app/smartdrive-test-api/50dc6c495c0c9188"
    }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/smartdrive-test-api/6d0ecf831eec9f09" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:smartdrive-test-api", version = "7" }
  }
  mock_resource "aws_lambda_alias" {
    defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:smartdrive-test-api:live" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/smartdrive-test", id = "arn:aws:ecs:eu-central-1:123456789012:cluster/smartdrive-test" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/smartdrive-test-any:1" }
  }
  override_resource {
    target = aws_secretsmanager_secret.login["database-app"]
    values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/database-app-aaaaaa" }
  }
  override_resource {
    target = aws_secretsmanager_secret.login["database-serving"]
    values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/database-serving-aaaaaa" }
  }
  override_resource {
    target = aws_secretsmanager_secret.login["database-dagster"]
    values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/database-dagster-aaaaaa" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-central-1:123456789012:service/srv-e4anhexample0004" }
  }
}

variables {
  name               = "smartdrive-test"
  vpc_id             = "vpc-0a1b2c3d4e5f67890"
  public_subnet_ids  = ["subnet-0000000000000000a", "subnet-0000000000000000b", "subnet-0000000000000000c"]
  private_subnet_ids = ["subnet-0000000000000001a", "subnet-0000000000000001b", "subnet-0000000000000001c"]
  security_group_ids = { load_balancer = "sg-00000000000000001", api = "sg-00000000000000002", dagster = "sg-00000000000000003", rotation = "sg-00000000000000004" }
  role_arns = {
    api               = "arn:aws:iam::123456789012:role/smartdrive-test-api"
    operator          = "arn:aws:iam::123456789012:role/smartdrive-test-operator"
    rotation          = "arn:aws:iam::123456789012:role/smartdrive-test-rotation"
    scheduler         = "arn:aws:iam::123456789012:role/smartdrive-test-scheduler"
    dagster_execution = "arn:aws:iam::123456789012:role/smartdrive-test-dagster-execution"
    webserver         = "arn:aws:iam::123456789012:role/smartdrive-test-webserver"
    daemon            = "arn:aws:iam::123456789012:role/smartdrive-test-daemon"
    code              = "arn:aws:iam::123456789012:role/smartdrive-test-code"
    run               = "arn:aws:iam::123456789012:role/smartdrive-test-run"
  }
  kms_key_arns = {
    data        = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000001"
    logs        = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000002"
    certificate = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000003"
  }
  secret_arns = {
    lake-secret  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/lake-secret-aaaaaa"
    signing-keys = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/signing-keys-aaaaaa"
    alerting     = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:smartdrive-test/alerting-aaaaaa"
  }
  bucket_names = { landing = "smartdrive-test-123456789012-landing", state = "smartdrive-test-123456789012-state", logs = "smartdrive-test-123456789012-logs" }
  lake_url     = "s3://smartdrive-test-123456789012-lake/lake"
  database = {
    host              = "smartdrive-test.abcdefghijkl.eu-central-1.rds.amazonaws.com"
    port              = 5432
    name              = "smartdrive"
    master_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-00000000-0000-4000-8000-000000000004-aaaaaa"
  }
  certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-4000-8000-000000000005"
  api_domain      = "api.example.org"
  api_package     = { s3_bucket = "smartdrive-test-packages", s3_key = "api.zip", source_code_hash = "YWJj" }
  images = {
    dagster = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/smartdrive-test/dagster@sha256:0000000000000000000000000000000000000000000000000000000000000001"
    api     = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/smartdrive-test/api@sha256:0000000000000000000000000000000000000000000000000000000000000002"
  }
  alerting_keys = ["slack_webhook"]
}

run "everything" {
  command = apply # of the mock: what depends on a computed value can be looked at

  assert {
    condition     = aws_lb_listener.api.ssl_policy == "ELBSecurityPolicy-TLS13-1-3-2021-06" && aws_lb_listener.api.protocol == "HTTPS" && aws_lb_listener.api.port == 443
    error_message = "The front door speaks TLS 1.3 and nothing else."
  }
  assert {
    condition     = aws_lb_listener.api.default_action[0].target_group_arn == aws_lb_target_group.api.arn && aws_lb_target_group.api.target_type == "lambda"
    error_message = "The front door leads to the function."
  }
  assert {
    condition     = aws_lb_listener.api.routing_http_response_strict_transport_security_header_value == "max-age=31536000"
    error_message = "Browsers are told to come by HTTPS."
  }
  assert {
    condition     = aws_lb.api.drop_invalid_header_fields && aws_lb.api.desync_mitigation_mode == "strictest" && aws_lb.api.enable_deletion_protection
    error_message = "The load balancer refuses ambiguous requests and its own deletion."
  }
  assert {
    condition     = aws_lb.api.access_logs[0].enabled && aws_lb.api.access_logs[0].bucket == var.bucket_names.logs
    error_message = "Requests are logged."
  }
  assert {
    condition     = aws_lb_target_group_attachment.api.target_id == aws_lambda_alias.live.arn && aws_lambda_permission.load_balancer.qualifier == "live"
    error_message = "The load balancer calls the alias, and may call nothing else."
  }
  assert {
    condition     = aws_lambda_permission.load_balancer.source_arn == aws_lb_target_group.api.arn
    error_message = "No other load balancer may call the function."
  }
  assert {
    condition     = aws_lambda_alias.live.function_version == "7" && length(aws_lambda_alias.live.routing_config) == 0
    error_message = "Without a canary the newest version answers everything."
  }
  assert {
    condition     = aws_lambda_function.api.publish && aws_lambda_function.api.architectures[0] == "arm64" && aws_lambda_function.api.handler == "smartdrive_api.aws.handler"
    error_message = "Each package is a version of an arm64 function with the API's handler."
  }
  assert {
    condition     = aws_lambda_function.api.reserved_concurrent_executions == 20 && aws_lambda_function.api.timeout == 29
    error_message = "Concurrency and time are bounded."
  }
  assert {
    condition     = toset(aws_lambda_function.api.vpc_config[0].subnet_ids) == toset(var.private_subnet_ids)
    error_message = "The function runs in the private subnets."
  }
  assert {
    condition     = alltrue([for name in ["DATABASE_LOGIN", "SIGNING_KEYS", "LAKE_SECRET"] : startswith(aws_lambda_function.api.environment[0].variables["SMARTDRIVE_API_${name}"], "secretsmanager:smartdrive-test/")])
    error_message = "The function's environment names secrets and holds none."
  }
  assert {
    condition     = alltrue([for task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) : container.readonlyRootFilesystem && container.user == "10001:10001" && !lookup(container, "privileged", false)])])
    error_message = "Every container has a read-only root and a user that is not root."
  }
  assert {
    condition     = alltrue([for task in aws_ecs_task_definition.this : alltrue([for container in jsondecode(task.container_definitions) : container.linuxParameters.capabilities.drop == ["ALL"]])])
    error_message = "No container keeps a capability of the kernel."
  }
  assert {
    condition     = alltrue([for key in ["webserver", "daemon", "code", "run"] : strcontains(aws_ecs_task_definition.this[key].container_definitions, "{\"name\":\"PGSSLMODE\",\"value\":\"verify-full\"},{\"name\":\"PGSSLROOTCERT\",\"value\":\"/opt/smartdrive/rds-ca.pem\"}")])
    error_message = "Dagster sees who its database is."
  }
  assert {
    condition     = length(distinct([for task in aws_ecs_task_definition.this : task.task_role_arn])) == 5
    error_message = "Each kind of task has a role of its own."
  }
  assert {
    condition     = [for key, task in aws_ecs_task_definition.this : key if strcontains(task.container_definitions, "lake-secret-aaaaaa")] == ["run"]
    error_message = "Of Dagster's tasks, only runs get the lake's secret."
  }
  assert {
    condition     = sort([for key, task in aws_ecs_task_definition.this : key if strcontains(task.container_definitions, "alerting-aaaaaa:slack_webhook::")]) == tolist(["code", "run"])
    error_message = "Webserver and daemon know no channel of alerts."
  }
  assert {
    condition     = alltrue([for service in aws_ecs_service.this : service.deployment_circuit_breaker[0].enable && service.deployment_circuit_breaker[0].rollback])
    error_message = "A deployment that fails goes back."
  }
  assert {
    condition     = alltrue([for service in aws_ecs_service.this : !service.network_configuration[0].assign_public_ip && toset(service.network_configuration[0].subnets) == toset(var.private_subnet_ids) && length(service.load_balancer) == 0])
    error_message = "Dagster is reachable from inside the VPC only."
  }
  assert {
    condition     = aws_ecs_service.this["daemon"].deployment_maximum_percent == 100 && aws_ecs_service.this["daemon"].desired_count == 1
    error_message = "There is never a second daemon."
  }
  assert {
    condition     = [for key, service in aws_ecs_service.this : key if service.enable_execute_command] == ["webserver"]
    error_message = "Only the webserver can be entered."
  }
  assert {
    condition     = anytrue([for setting in aws_ecs_cluster.this.setting : setting.name == "containerInsights" && setting.value == "enabled"])
    error_message = "Without Container Insights the alarm on stopped services has no metric."
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push])
    error_message = "Tags do not move, and every image is scanned."
  }
  assert {
    condition     = alltrue([for key, group in aws_cloudwatch_log_group.this : group.name == "/smartdrive/smartdrive-test/${key}" && group.kms_key_id == var.kms_key_arns.logs && group.retention_in_days == 90])
    error_message = "Logs have the names that policies speak of, a key and an end."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.tidy.target[0].input).containerOverrides[0].command == ["smartdrive-api", "tidy"]
    error_message = "The database is tidied every day."
  }
}

run "rotation" {
  command = apply

  assert {
    condition     = toset(keys(aws_secretsmanager_secret_rotation.this)) == toset(["database-app", "database-serving", "database-dagster"]) && alltrue([for key, one in aws_secretsmanager_secret_rotation.this : one.secret_id == aws_secretsmanager_secret.login[key].id && one.rotation_lambda_arn == aws_lambda_function.rotation.arn && one.rotation_rules[0].automatically_after_days == 30 && !one.rotate_immediately])
    error_message = "All logins of the database rotate by themselves."
  }
  assert {
    condition     = alltrue([for key, secret in aws_secretsmanager_secret.login : secret.name == "smartdrive-test/${key}" && secret.kms_key_id == var.kms_key_arns.data && secret.recovery_window_in_days == 30])
    error_message = "Logins are sealed with our key and can be restored for 30 days."
  }
  assert {
    condition     = alltrue([for key, one in aws_lambda_permission.rotation : one.principal == "secretsmanager.amazonaws.com" && one.source_arn == aws_secretsmanager_secret.login[key].arn && one.function_name == aws_lambda_function.rotation.function_name])
    error_message = "Secrets Manager may call the function for these secrets, and nobody else may."
  }
  assert {
    condition     = aws_lambda_function.rotation.role == var.role_arns.rotation && aws_lambda_function.rotation.handler == "smartdrive_api.rotation.handler" && aws_lambda_function.rotation.source_code_hash == aws_lambda_function.api.source_code_hash
    error_message = "Another handler of the API's package, with a role of its own."
  }
  assert {
    condition     = toset(aws_lambda_function.rotation.vpc_config[0].security_group_ids) == toset([var.security_group_ids.rotation])
    error_message = "It stands in a group of its own."
  }
  assert {
    condition     = toset([for arn, one in jsondecode(aws_lambda_function.rotation.environment[0].variables.SMARTDRIVE_ROTATION_SECRETS) : arn if length(one.services) > 0]) == toset([for key in ["database-serving", "database-dagster"] : aws_secretsmanager_secret.login[key].arn])
    error_message = "The API takes a login up by itself; services start anew for theirs."
  }
  assert {
    condition     = alltrue([for secret, one in local.logins : toset(one.services) == toset([for service in keys(aws_ecs_service.this) : service if strcontains(aws_ecs_task_definition.this[service].container_definitions, "${aws_secretsmanager_secret.login[secret].arn}:")])])
    error_message = "Exactly the services that get a login start anew when it rotates."
  }
  assert {
    condition     = alltrue([for task in aws_ecs_task_definition.this : strcontains(task.container_definitions, "database-dagster-aaaaaa:username::") == strcontains(task.container_definitions, "database-dagster-aaaaaa:password::") && strcontains(task.container_definitions, "database-serving-aaaaaa:username::") == strcontains(task.container_definitions, "database-serving-aaaaaa:password::")])
    error_message = "Whoever gets a password gets whose it is."
  }
}

run "a_canary" {
  command = apply

  variables {
    api_stable_version = "6"
    api_canary_weight  = 0.2
  }

  assert {
    condition     = aws_lambda_alias.live.function_version == "6" && aws_lambda_alias.live.routing_config[0].additional_version_weights == tomap({ "7" = 0.2 })
    error_message = "A canary takes its share from the version that is stable."
  }
}

run "a_canary_of_nothing_new" {
  command = apply

  variables {
    api_stable_version = "7"
  }

  assert {
    condition     = aws_lambda_alias.live.function_version == "7" && length(coalesce(aws_lambda_alias.live.routing_config[0].additional_version_weights, {})) == 0
    error_message = "Where nothing new was published, no share goes anywhere."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    images             = { dagster = "smartdrive/dagster:latest", api = "smartdrive/api:latest" }
    api_concurrency    = 0
    api_runtime        = "python3.9"
    api_timeout_s      = 60
    api_stable_version = "$LATEST"
    api_canary_weight  = 0.9
    api_package        = { filename = "api.zip", s3_bucket = "x", s3_key = "y", source_code_hash = "YWJj" }
    lake_environment   = { SMARTDRIVE_SLACK_WEBHOOK = "https://hooks.example.org/x" }
    log_retention_days = 31
    rotation_days      = 0
    lake_url           = "/var/lake"
    sizes = {
      webserver = { cpu = 512, memory = 1024 }
      daemon    = { cpu = 512, memory = 1024 }
      code      = { cpu = 512, memory = 2048 }
      run       = { cpu = 1024, memory = 1024 }
      operator  = { cpu = 256, memory = 512 }
    }
  }

  expect_failures = [
    var.images, var.api_concurrency, var.api_runtime, var.api_timeout_s, var.api_stable_version, var.api_canary_weight,
    var.api_package, var.lake_environment, var.log_retention_days, var.lake_url, var.sizes, var.rotation_days,
  ]
}
