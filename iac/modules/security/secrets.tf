locals {
  # Their values never pass through Terraform, whose state would keep them: an operator writes them once. AWS rotates
  # none of them by itself. RDS makes and rotates the master password of the database (module database).
  secrets = {
    "lake-secret"      = "Keys the pseudonyms of vehicles. Never rotated: another one names every vehicle anew."
    "signing-keys"     = "Key ring of access tokens. Rotated by `smartdrive-api keys rotate`."
    "database-app"     = "Login of the API: JSON with username and password."
    "database-serving" = "Login of the lake's publisher: JSON with username and password."
    "database-dagster" = "Login of Dagster's own database: JSON with username and password."
    "alerting"         = "Where alerts go: JSON with slack_webhook, smtp_url or webhook_url."
  }
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:how each is changed says docs/how-to/rotate-secrets.md; the lake's secret never is. RDS rotates its own

  for_each = local.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = var.is_disposable ? 0 : 30
}
