# Webserver, daemon, code location, runs and lander of the lake: one image, of which each runs its own command.
ARG BASE_IMAGE=python:3.13-slim-bookworm@sha256:01f42367a0a94ad4bc17111776fd66e3500c1d87c15bbd6055b7371d39c124fb

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY containers/build.lock containers/dagster.lock ./
RUN python -m venv --without-pip /opt/venv \
 && python -m pip install --no-cache-dir --require-hashes --requirement build.lock \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --requirement dagster.lock
COPY pyproject.toml README.md LICENSE ./
COPY contracts contracts
COPY dbt_like_models dbt_like_models
COPY smartdrive_dagster smartdrive_dagster
RUN python -m hatchling build --target wheel --directory /wheels \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG DAGSTER_YAML=dagster.yaml
LABEL org.opencontainers.image.title="smartdrive-dagster" \
      org.opencontainers.image.description="The SmartDrive lake: Dagster, ingestion, Gold and the lander" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# What the base brings to install with has no business here.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
 && groupadd --gid 10001 smartdrive \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin smartdrive \
 && install --directory --owner=10001 --group=10001 /opt/smartdrive/dagster /opt/smartdrive/scratch /run/smartdrive
COPY --from=build /opt/venv /opt/venv
COPY iac/database/rds-ca-rsa2048-g1.pem /opt/smartdrive/rds-ca.pem
COPY containers/workspace.yaml /opt/smartdrive/workspace.yaml
COPY ${DAGSTER_YAML} /opt/smartdrive/dagster/dagster.yaml
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    DAGSTER_HOME=/opt/smartdrive/dagster \
    DAGSTER_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/smartdrive/scratch
USER 10001:10001
VOLUME ["/tmp"]
EXPOSE 3000 4000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/server_info', timeout=5)"]
CMD ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000", "-w", "/opt/smartdrive/workspace.yaml"]
