# The state's bucket is told to `terraform init -backend-config=…`: see iac/README.md. The lock is an
# object beside the state, written on the condition that there is none.
terraform {
  backend "s3" {
    key          = "smartdrive-prod/terraform.tfstate"
    use_lockfile = true
    encrypt      = true
  }
}
