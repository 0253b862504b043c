resource "aws_iot_thing_type" "collector" {
  name = "${var.name}-collector"

  properties {
    description           = "A SmartDrive collector in one car; its name is its device_id"
    searchable_attributes = ["collector_version"]
  }
}

# A device says nothing but its own telemetry and events, and hears nothing but its own acks. Its client id is its
# thing's name, and the certificate has to be attached to that thing.
resource "aws_iot_policy" "collector" {
  name = "${var.name}-collector"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = ["iot:Connect"]
        Resource  = ["${local.iot}:client/$${iot:Connection.Thing.ThingName}"]
        Condition = { Bool = { "iot:Connection.Thing.IsAttached" = "true" } }
      },
      {
        Effect   = "Allow"
        Action   = ["iot:Publish"]
        Resource = [for channel in local.channels : "${local.iot}:topic/vehicle/$${iot:Connection.Thing.ThingName}/${channel}"]
      },
      {
        Effect   = "Allow"
        Action   = ["iot:Subscribe"]
        Resource = ["${local.iot}:topicfilter/vehicle/$${iot:Connection.Thing.ThingName}/ack"]
      },
      {
        Effect   = "Allow"
        Action   = ["iot:Receive"]
        Resource = ["${local.iot}:topic/vehicle/$${iot:Connection.Thing.ThingName}/ack"]
      },
    ]
  })
}
