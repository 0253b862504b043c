locals {
  # Their values never pass through Terraform, whose state would keep them: an operator writes them once. Those of the
  # database's logins are in module compute, beside what rotates them; RDS makes and rotates its owner's password.
  secrets = {
    "lake-secret"  = "Keys the pseudonyms of vehicles. Never rotated: another one names every vehicle anew."
    "signing-keys" = "Key ring of access tokens. Rotated by `smartdrive-api keys rotate`."
    "alerting"     = "Where alerts go: JSON with slack_webhook, smtp_url or webhook_url."
  }
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:how each is changed says docs/how-to/rotate-secrets.md; the lake's secret never is

  for_each = local.secrets

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = var.is_disposable ? 0 : 30
}
