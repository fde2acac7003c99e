# docker build -t aiproxy . && docker run -p 8080:8080 -e AUTH_TOKEN=… aiproxy
#
# Nothing has to be mounted: /config may hold provider_config.yaml and .env, /state
# keeps the counts of hours and days. AUTH_TOKEN (or `keys:` in the configuration)
# has to be set, for a container is reached from beyond itself.
# The newest is the fastest: docs/performance.md.
ARG PYTHON_VERSION=3.15

FROM python:${PYTHON_VERSION}-slim AS build
# Extras of setup.py to install, such as otel.
ARG EXTRAS=
WORKDIR /src
COPY LICENSE MANIFEST.in README.md pyproject.toml setup.py ./
COPY aiproxy aiproxy
COPY twisted twisted
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip wheel --no-deps --wheel-dir /wheel .
# Without pip: nothing is installed later. The last command writes the list of plugins,
# which the user of the second stage may not.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/aiproxy \
    && set -- /wheel/aiproxy-*.whl \
    && python -m pip --python /opt/aiproxy/bin/python install "$1${EXTRAS:+[$EXTRAS]}" \
    && /opt/aiproxy/bin/twistd --help >/dev/null

FROM python:${PYTHON_VERSION}-slim
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aiproxy" \
      org.opencontainers.image.description="An AI gateway: OpenAI's HTTP API in front of every provider" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 aiproxy \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /state \
        --shell /usr/sbin/nologin aiproxy \
    && install --directory /config \
    && install --directory --owner 10001 --group 10001 --mode 0700 /state
COPY --from=build /opt/aiproxy /opt/aiproxy
ENV PATH=/opt/aiproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/state
# ./provider_config.yaml and ./.env are looked for here, and may be missing.
WORKDIR /config
VOLUME /state
# A number, so that Kubernetes sees that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
    CMD ["aiproxy", "health", "http://127.0.0.1:8080"]
ENTRYPOINT ["aiproxy"]
CMD ["run", "--addr", ":8080"]
