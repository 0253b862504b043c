# Mosquitto with the configuration that `smartdrive-edge broker` writes: TLS 1.3, a client certificate for everyone.
ARG BASE_IMAGE=python:3.13-slim-bookworm@sha256:01f42367a0a94ad4bc17111776fd66e3500c1d87c15bbd6055b7371d39c124fb

FROM ${BASE_IMAGE} AS build
WORKDIR /src/edge
COPY containers/build.lock containers/edge.lock ./
RUN python -m venv --without-pip /opt/venv \
 && python -m pip install --no-cache-dir --require-hashes --requirement build.lock \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --requirement edge.lock
COPY contracts /src/contracts
COPY edge/pyproject.toml edge/README.md edge/LICENSE ./
COPY edge/broker broker
COPY edge/smartdrive_edge smartdrive_edge
RUN python -m hatchling build --target wheel --directory /wheels \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM ${BASE_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="smartdrive-broker" \
      org.opencontainers.image.description="Mosquitto as SmartDrive configures it" \
      org.opencontainers.image.licenses="GPL-2.0-or-later" \
      org.opencontainers.image.revision="${REVISION}"
# Debian's Mosquitto: its security updates keep the version's number, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends mosquitto \
 && rm -rf /var/lib/apt/lists/* \
 && python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
 && groupadd --gid 10001 smartdrive \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin smartdrive \
 && install --directory --owner=10001 --group=10001 --mode=0700 /opt/smartdrive/broker
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/smartdrive/broker
USER 10001:10001
VOLUME ["/tmp"]
EXPOSE 8883
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
  CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8883), 5).close()"]
CMD ["smartdrive-edge", "broker", "--kind", "mosquitto", "--address", "0.0.0.0", "--folder", "/opt/smartdrive/broker", "--certificates", "/run/certificates"]
