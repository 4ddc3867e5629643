# syntax=docker/dockerfile:1
# The operator's image: one static-enough binary on distroless, as user 65532, for amd64 and arm64.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/telegram-connector-operator:0.1.0 --push .
#
# The build stage runs on the builder's own architecture and cross-compiles, so that no emulator is needed. The feature `dev` (embedded control
# plane, simulator, demo) is left out. TLS roots are compiled in (webpki-roots); nothing of the base image is used but libc.

FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-bookworm AS build
ARG TARGETARCH
RUN set -eu; \
    case "$TARGETARCH" in \
      amd64) triple=x86_64-unknown-linux-gnu packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" compiler=x86_64-linux-gnu-gcc ;; \
      arm64) triple=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" compiler=aarch64-linux-gnu-gcc ;; \
      *) echo "no image for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    if [ "$(dpkg --print-architecture)" = "$TARGETARCH" ]; then packages= compiler=cc; fi; \
    if [ -n "$packages" ]; then apt-get update; apt-get install -y --no-install-recommends $packages; rm -rf /var/lib/apt/lists/*; fi; \
    rustup target add "$triple"; \
    upper=$(echo "$triple" | tr a-z- A-Z_); \
    lower=$(echo "$triple" | tr - _); \
    printf 'export TRIPLE=%s CARGO_TARGET_%s_LINKER=%s CC_%s=%s\n' "$triple" "$upper" "$compiler" "$lower" "$compiler" >/build.env
WORKDIR /source
COPY Cargo.toml Cargo.lock LICENSE README.md ./
COPY src src
# Cargo wants to see every target that Cargo.toml names.
COPY benches benches
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=target-$TARGETARCH,target=/source/target \
    set -eu; . /build.env; \
    cargo build --profile dist --locked --no-default-features --bin telegram-connector-operator --target "$TRIPLE"; \
    install -D "target/$TRIPLE/dist/telegram-connector-operator" /image/usr/local/bin/telegram-connector-operator; \
    install -d -m 0770 /image/data

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="telegram-connector-operator" \
      org.opencontainers.image.description="Connects Telegram bots to assistants behind an HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/usr/local/bin/telegram-connector-operator /usr/local/bin/telegram-connector-operator
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
ENV STORE=sqlite:/data/connectors.db
EXPOSE 8080 8443
ENTRYPOINT ["/usr/local/bin/telegram-connector-operator"]
CMD ["run"]
