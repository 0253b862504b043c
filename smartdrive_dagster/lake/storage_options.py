"""How delta-rs and Polars reach the lake, beside the `AWS_…` variables that they read themselves."""

from __future__ import annotations

import os


def storage_options(url: str) -> dict[str, str]:
    """What the variables say and the libraries do not read: the endpoint, plain HTTP, a file with credentials."""
    if not url.startswith("s3://"):
        return {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options = {"AWS_ENDPOINT_URL": endpoint} if endpoint else {}
    if endpoint.startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options | _keys_in_a_file()


def _keys_in_a_file() -> dict[str, str]:
    """Credentials that stand in a file, which delta-rs reads only where it is the one in the home directory."""
    if "AWS_SHARED_CREDENTIALS_FILE" not in os.environ or "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        return {}
    keys = found.get_frozen_credentials()
    given = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
    }
    return {name: value for name, value in given.items() if value}
