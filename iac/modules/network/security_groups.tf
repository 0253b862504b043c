locals {
  groups = {
    load_balancer = "The API's front door"
    api           = "The API's function"
    rotation      = "The function that rotates logins of the database"
    dagster       = "Dagster: webserver, daemon, code location and runs"
    database      = "PostgreSQL"
    endpoints     = "Interface endpoints of AWS services"
  }

  # Who may open a connection to whom: each pair is one rule on either side, and nothing else is allowed within.
  allowed = {
    "api-database"       = { from = "api", to = "database", port = 5432 }
    "rotation-database"  = { from = "rotation", to = "database", port = 5432 }
    "dagster-database"   = { from = "dagster", to = "database", port = 5432 }
    "api-endpoints"      = { from = "api", to = "endpoints", port = 443 }
    "rotation-endpoints" = { from = "rotation", to = "endpoints", port = 443 }
    "dagster-endpoints"  = { from = "dagster", to = "endpoints", port = 443 }
    "dagster-code"       = { from = "dagster", to = "dagster", port = 4000 }
  }

  # The load balancer calls a function through AWS and needs no way out. Dagster tells people of alerts and asks for
  # the weather; the API asks nobody but AWS.
  outward = {
    "dagster-https" = { group = "dagster", port = 443 }
    "dagster-smtps" = { group = "dagster", port = 465 }
    "dagster-smtp"  = { group = "dagster", port = 587 }
  }
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached in other modules, which take its id

  for_each = local.groups

  name        = "${var.name}-${replace(each.key, "_", "-")}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-${replace(each.key, "_", "-")}" }
}

resource "aws_vpc_security_group_ingress_rule" "within" {
  for_each = local.allowed

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = "From ${each.value.from}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "within" {
  for_each = local.allowed

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = "To ${each.value.to}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = toset(var.clients)

  security_group_id = aws_security_group.this["load_balancer"].id
  cidr_ipv4         = each.value
  description       = "Clients of the API"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "outward" {
  for_each = local.outward

  security_group_id = aws_security_group.this[each.value.group].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "Weather, Slack and mail"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = toset(["api", "dagster"])

  security_group_id = aws_security_group.this[each.value].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  description       = "S3 through its gateway endpoint"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
