# One image for each service: `make images`, or `docker build --target stt .`. Both builders of Docker can read it.
# A digest pins the base further: --build-arg BASE=python:3.11-slim-bookworm@sha256:…
ARG BASE=python:3.11-slim-bookworm

# What all builds have in common.
FROM ${BASE} AS build
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --no-install-recommends tini=0.19.*
RUN python -m venv /opt/venv
COPY requirements/install.sh /build/
WORKDIR /app
COPY shared shared
COPY agents.yaml ./
COPY scenarios scenarios

FROM build AS build-gateway
COPY requirements/gateway.txt /build/
RUN sh /build/install.sh gateway
COPY services/__init__.py services/
COPY services/gateway services/gateway
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM build AS build-stt
COPY requirements/stt.txt /build/
RUN sh /build/install.sh stt
COPY services/__init__.py services/
COPY services/stt services/stt
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM build AS build-llm
COPY requirements/llm.txt /build/
RUN sh /build/install.sh llm
COPY services/__init__.py services/
COPY services/llm services/llm
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM build AS build-tts
COPY requirements/tts.txt /build/
RUN sh /build/install.sh tts
COPY services/__init__.py services/
COPY services/tts services/tts
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM build AS build-speech
COPY requirements/speech.txt /build/
RUN sh /build/install.sh speech
COPY services/__init__.py services/
COPY services/speech services/speech
RUN python -m compileall -q --invalidation-mode unchecked-hash .

# What all images have in common.
FROM ${BASE} AS service
ARG BASE
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Trunkline" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --shell /usr/sbin/nologin trunkline
# A process that is PID 1 ignores a signal until it has set a handler, and nobody reaps what its children leave behind.
COPY --from=build /usr/bin/tini-static /usr/bin/tini
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8080
WORKDIR /app
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-m", "shared.probe"]

FROM service AS gateway
LABEL org.opencontainers.image.title="trunkline-gateway" \
      org.opencontainers.image.description="Twilio's webhooks and media sockets, between a call and NATS"
COPY --from=build-gateway /opt/venv /opt/venv
COPY --from=build-gateway /app /app
ENTRYPOINT ["tini", "--", "python", "-m", "services.gateway"]

FROM service AS stt
LABEL org.opencontainers.image.title="trunkline-stt" \
      org.opencontainers.image.description="Speech to text: what callers say, and when they speak"
COPY --from=build-stt /opt/venv /opt/venv
COPY --from=build-stt /app /app
ENTRYPOINT ["tini", "--", "python", "-m", "services.stt"]

FROM service AS llm
LABEL org.opencontainers.image.title="trunkline-llm" \
      org.opencontainers.image.description="The dialogue: whose turn it is, and what the agent says"
COPY --from=build-llm /opt/venv /opt/venv
COPY --from=build-llm /app /app
ENTRYPOINT ["tini", "--", "python", "-m", "services.llm"]

FROM service AS tts
LABEL org.opencontainers.image.title="trunkline-tts" \
      org.opencontainers.image.description="Text to speech: the agent's voice"
COPY --from=build-tts /opt/venv /opt/venv
COPY --from=build-tts /app /app
ENTRYPOINT ["tini", "--", "python", "-m", "services.tts"]

FROM service AS speech
LABEL org.opencontainers.image.title="trunkline-speech" \
      org.opencontainers.image.description="Agents without stages: speech in, speech out"
COPY --from=build-speech /opt/venv /opt/venv
COPY --from=build-speech /app /app
ENTRYPOINT ["tini", "--", "python", "-m", "services.speech"]
