# The REST API, and its operator's commands (migrate, keys, accounts, …).
ARG BASE_IMAGE=python:3.13-slim-bookworm@sha256:01f42367a0a94ad4bc17111776fd66e3500c1d87c15bbd6055b7371d39c124fb

FROM ${BASE_IMAGE} AS build
WORKDIR /src/api
COPY containers/build.lock api/requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
 && python -m pip install --no-cache-dir --require-hashes --requirement build.lock \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --requirement requirements.lock
COPY contracts /src/contracts
COPY api/pyproject.toml api/README.md api/LICENSE ./
COPY api/smartdrive_api smartdrive_api
RUN python -m hatchling build --target wheel --directory /wheels \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM ${BASE_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="smartdrive-api" \
      org.opencontainers.image.description="The SmartDrive REST API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
 && groupadd --gid 10001 smartdrive \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin smartdrive \
 && install --directory --owner=10001 --group=10001 --mode=0700 /opt/smartdrive/api
COPY --from=build /opt/venv /opt/venv
COPY iac/database/rds-ca-rsa2048-g1.pem /opt/smartdrive/rds-ca.pem
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/smartdrive/api
USER 10001:10001
VOLUME ["/tmp"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
CMD ["smartdrive-api", "serve", "--host", "0.0.0.0", "--port", "8000"]
