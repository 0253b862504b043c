mock_provider "aws" {
  source = "../../tests"
}

variables {
  name               = "smartdrive-test"
  flow_logs_role_arn = "arn:aws:iam::123456789012:role/smartdrive-test-flow-logs"
  logs_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000"
}

# Each run starts the provider anew, which takes seconds: one run holds all that is true of one configuration.
run "network" {
  command = apply

  assert {
    condition     = length(aws_subnet.this) == 9 && length(distinct([for subnet in aws_subnet.this : subnet.cidr_block])) == 9
    error_message = "Three tiers in three zones are nine subnets that do not overlap."
  }

  assert {
    condition     = length(distinct([for subnet in aws_subnet.this : subnet.availability_zone])) == 3
    error_message = "The subnets lie in three zones."
  }

  assert {
    condition     = alltrue([for name in ["public", "private", "isolated"] : length(distinct([for key, subnet in aws_subnet.this : subnet.availability_zone if startswith(key, name)])) == 3])
    error_message = "Each tier is in all three zones."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.this : !subnet.map_public_ip_on_launch])
    error_message = "No machine gets a public address unasked."
  }

  assert {
    condition     = length(output.isolated_subnet_ids) == 3 && length(setintersection(output.isolated_subnet_ids, output.public_subnet_ids)) == 0
    error_message = "The database's subnets are none of the public ones."
  }

  assert {
    condition     = !contains(concat([aws_route.public_out.route_table_id], aws_route.private_out[*].route_table_id), aws_route_table.isolated.id)
    error_message = "The isolated route table has no route."
  }

  assert {
    condition     = alltrue([for zone in range(3) : aws_route_table_association.this["isolated-${zone}"].route_table_id == aws_route_table.isolated.id])
    error_message = "All isolated subnets use the table without routes."
  }

  assert {
    condition     = !contains(tolist(aws_vpc_endpoint.s3.route_table_ids), aws_route_table.isolated.id)
    error_message = "Not even S3 is reached from there."
  }

  assert {
    condition     = toset(aws_network_acl_rule.isolated_in[*].cidr_block) == toset([for zone in range(3) : aws_subnet.this["private-${zone}"].cidr_block])
    error_message = "Only the private subnets pass the database's network ACL."
  }

  assert {
    condition     = alltrue([for rule in aws_network_acl_rule.isolated_in : rule.from_port == 5432 && rule.to_port == 5432 && rule.protocol == "tcp"])
    error_message = "Only PostgreSQL's port passes."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.within : rule.referenced_security_group_id if rule.security_group_id == aws_security_group.this["database"].id]) == toset([for group in ["api", "dagster", "rotation"] : aws_security_group.this[group].id])
    error_message = "The database is reached by the API, by Dagster and by who rotates their logins alone."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.within : rule.cidr_ipv4 == null])
    error_message = "Within the VPC no rule names addresses."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.clients : rule.security_group_id == aws_security_group.this["load_balancer"].id && rule.from_port == 443 && rule.to_port == 443])
    error_message = "The world reaches the load balancer alone, by TLS alone."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.outward : rule.security_group_id == aws_security_group.this["dagster"].id])
    error_message = "Only Dagster may call the world."
  }

  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "The VPC's default group allows nothing."
  }

  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["ec2", "ecr.api", "ecr.dkr", "ecs", "kms", "logs", "secretsmanager", "sns", "ssmmessages", "sts"])
    error_message = "Each service that our programs call has an interface endpoint."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.subnet_ids == toset(output.private_subnet_ids)])
    error_message = "Clients find the endpoints by the services' usual names, in every private subnet."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.s3.route_table_ids) == 3
    error_message = "S3 has a gateway endpoint in every private route table."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_vpc_endpoint.s3.policy).Statement : statement.Sid == "ImageLayers" || try(statement.Condition.StringEquals["aws:ResourceAccount"], "") == "123456789012"])
    error_message = "The way to S3 leads to no other account's buckets."
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_flow_log.this.log_destination == aws_cloudwatch_log_group.flow.arn
    error_message = "Flow logs hold what was allowed and what was refused."
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow.kms_key_id == var.logs_key_arn && aws_cloudwatch_log_group.flow.retention_in_days == 30
    error_message = "Flow logs are encrypted and end."
  }
}

run "a_gateway_for_each_zone" {
  command = plan

  variables {
    nat_gateways = 3
    clients      = ["198.51.100.0/24"]
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_eip.nat) == 3
    error_message = "With three gateways each zone has its own."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.clients : rule.cidr_ipv4] == ["198.51.100.0/24"]
    error_message = "The front door can be closed to all but some networks."
  }
}

run "what_is_refused" {
  command = plan

  variables {
    name                    = "Smart_Drive"
    cidr_block              = "8.8.0.0/16"
    nat_gateways            = 2
    clients                 = ["everybody"]
    flow_log_retention_days = 31
  }

  expect_failures = [var.name, var.cidr_block, var.nat_gateways, var.clients, var.flow_log_retention_days]
}
