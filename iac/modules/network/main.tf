data "aws_region" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:the first three in order of their names; one more at the end moves none

  state = "available"
}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, 3)
  # A /16 cut into /20: three public, three private, three isolated; the rest is room to grow.
  subnets = {
    for index, pair in setproduct(["public", "private", "isolated"], range(3)) :
    "${pair[0]}-${pair[1]}" => {
      tier  = pair[0]
      zone  = local.zones[pair[1]]
      block = cidrsubnet(var.cidr_block, 4, index)
    }
  }
  # In the order of zones, whatever the map's order is.
  of_tier = { for tier in ["public", "private", "isolated"] : tier => [for zone in range(3) : "${tier}-${zone}"] }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr_block
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

# The default group lets its members talk to one another: nobody is a member, and it allows nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "this" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.value.zone
  cidr_block              = each.value.block
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-${each.key}", Tier = each.value.tier }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_eip" "nat" {
  count = var.nat_gateways

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${count.index}" }
}

resource "aws_nat_gateway" "this" {
  count = var.nat_gateways

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.this["public-${count.index}"].id

  tags = { Name = "${var.name}-${count.index}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "public_out" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table" "private" {
  count = 3

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private-${count.index}" }
}

resource "aws_route" "private_out" {
  count = 3

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[count.index % var.nat_gateways].id
}

# No route but the VPC's own: what lies here is reached from within and reaches nothing.
resource "aws_route_table" "isolated" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-isolated" }
}

resource "aws_route_table_association" "this" {
  for_each = local.subnets

  subnet_id = aws_subnet.this[each.key].id
  route_table_id = {
    public   = aws_route_table.public.id
    private  = aws_route_table.private[index(local.zones, each.value.zone)].id
    isolated = aws_route_table.isolated.id
  }[each.value.tier]
}

# Even a group opened by mistake lets no public subnet reach the database: only private subnets pass, to its port.
resource "aws_network_acl" "isolated" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = [for name in local.of_tier.isolated : aws_subnet.this[name].id]

  tags = { Name = "${var.name}-isolated" }
}

resource "aws_network_acl_rule" "isolated_in" {
  count = 3

  network_acl_id = aws_network_acl.isolated.id
  rule_number    = 100 + count.index
  egress         = false
  protocol       = "tcp"
  rule_action    = "allow"
  cidr_block     = local.subnets["private-${count.index}"].block
  from_port      = 5432
  to_port        = 5432
}

resource "aws_network_acl_rule" "isolated_out" {
  count = 3

  network_acl_id = aws_network_acl.isolated.id
  rule_number    = 100 + count.index
  egress         = true
  protocol       = "tcp"
  rule_action    = "allow"
  cidr_block     = local.subnets["private-${count.index}"].block
  from_port      = 1024
  to_port        = 65535
}
