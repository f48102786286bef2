# maskyolo for cameras, with the live page: see "In a container" in docs/live.md.
FROM python:3.11-slim-bookworm

# OpenCV needs these two libraries also without a display.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /src/
COPY configs /src/configs
COPY web /src/web
COPY maskyolo /src/maskyolo
RUN pip install --no-cache-dir '/src[serve]' \
    && rm -rf /src \
    && useradd --uid 1000 --create-home maskyolo \
    && install --directory --owner=maskyolo /data

USER 1000
WORKDIR /data
ENTRYPOINT ["maskyolo"]
CMD ["--help"]
