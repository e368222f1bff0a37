# The fast engine is built in a stage with a compiler; the image that is left has none.

FROM python:3.12-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY streamlic streamlic
# cloud: object stores. Others, after a comma: delta, iceberg.
ARG EXTRAS=cloud
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/streamlic \
    && pip --python /opt/streamlic/bin/python install --no-cache-dir "$(echo /wheels/*.whl)[${EXTRAS}]" \
    && /opt/streamlic/bin/python -c "from streamlic.decoder import engine_named; engine_named('fast')"

FROM python:3.12-slim
LABEL org.opencontainers.image.title="streamlic" \
      org.opencontainers.image.description="Streams licenses from the Truto unified API into Parquet" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin streamlic \
    && install --directory --owner streamlic --group streamlic /data
COPY --from=build /opt/streamlic /opt/streamlic
ENV PATH=/opt/streamlic/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
ENTRYPOINT ["streamlic"]
CMD ["--help"]
