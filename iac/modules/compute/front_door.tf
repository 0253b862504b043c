# TLS 1.3 and nothing else. There is no listener on port 80: a token sent there would have leaked before a redirect.

resource "aws_lb" "api" {
  #checkov:skip=CKV2_AWS_28:the API limits rates by account and address itself; a firewall is the owner's choice

  name               = "${var.name}-api"
  load_balancer_type = "application"
  internal           = false
  subnets            = var.public_subnet_ids
  security_groups    = [var.security_group_ids.load_balancer]

  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  idle_timeout               = 60
  enable_deletion_protection = var.deletion_protection

  access_logs {
    bucket  = var.bucket_names.logs
    prefix  = "load-balancer"
    enabled = true
  }
}

resource "aws_lb_listener" "api" {
  load_balancer_arn = aws_lb.api.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-3-2021-06"
  certificate_arn   = var.certificate_arn

  routing_http_response_server_enabled                         = false
  routing_http_response_strict_transport_security_header_value = "max-age=31536000"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

resource "aws_lb_target_group" "api" {
  name                               = "${var.name}-api"
  target_type                        = "lambda"
  lambda_multi_value_headers_enabled = true # an answer may set two cookies, and a query may repeat a name

  health_check {
    enabled = false # a function has no instance to take out; the alarms look at answers
  }
}

resource "aws_lb_target_group_attachment" "api" {
  target_group_arn = aws_lb_target_group.api.arn
  target_id        = aws_lambda_alias.live.arn

  depends_on = [aws_lambda_permission.load_balancer]
}
