"""What a fresh process of the Lambda handler needs: its import, its first answer, its second. Seconds, as JSON.

The event is one of an Application Load Balancer, for a signed-in caller (ACCESS_TOKEN). `api_load.py` runs this.
"""

from __future__ import annotations

import json
import os
import time

_BEGAN = time.perf_counter()

from smartdrive_api.aws import handler  # noqa: E402 - the import is what is measured

_IMPORTED = time.perf_counter()
_EVENT = {
    "requestContext": {
        "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/api/6d0e"}
    },
    "httpMethod": "GET",
    "path": "/v1/vehicles",
    "queryStringParameters": {},
    "headers": {
        "accept": "*/*",
        "authorization": f"Bearer {os.environ['ACCESS_TOKEN']}",
        "host": "api.example.org",
        "x-amzn-trace-id": "Root=1-5c536348-3d683b8b04734faae651f476",
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    },
    "body": "",
    "isBase64Encoded": False,
}


def main() -> None:
    """Answer twice and print the times, after the lines that are for CloudWatch."""
    times = [time.perf_counter()]
    for _ in range(2):
        answer = handler(_EVENT, None)  # type: ignore[arg-type]
        times.append(time.perf_counter())
        if answer["statusCode"] != 200:  # noqa: PLR2004
            raise SystemExit(f"the handler answers {answer['statusCode']}")
    found = {"imported": _IMPORTED - _BEGAN, "first": times[1] - times[0], "second": times[2] - times[1]}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
