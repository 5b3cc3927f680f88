# One image for every service: `docker run trunkline services.stt`.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY requirements.txt .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet -r requirements.txt \
 && find /opt/venv -name tests -type d -prune -exec rm -rf {} + \
 && rm -rf /opt/venv/lib/python3.11/site-packages/pip /opt/venv/lib/python3.11/site-packages/setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="trunkline" \
      org.opencontainers.image.description="A phone line to an AI: gateway, stt, llm, tts and speech workers over NATS"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin trunkline
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8080
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY agents.yaml ./
COPY scenarios scenarios
COPY shared shared
COPY services services
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["python", "-m"]
CMD ["services.gateway"]
