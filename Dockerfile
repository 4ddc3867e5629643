# syntax=docker/dockerfile:1
# The operator's image for amd64 and arm64: the binary, glibc and public CAs from Debian's packages, and nothing else; no shell. It runs as user 65532 with a
# read-only root.
#
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/telegram-connector-operator:0.1.0 --push .
#
# The build stage runs on the builder's own architecture and cross-compiles, so that no emulator is needed. The feature `dev` (embedded control
# plane, simulator, demo) is left out. BUILDER may be any Debian 12 with cargo in its PATH (and rustup, if
# architectures are crossed); tests/image/build.sh makes one where no registry can be reached. Pin it by digest where you build: docs/image.md.

ARG BUILDER=docker.io/library/rust:1.95-bookworm

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
ARG TARGETARCH
ARG PROFILE=dist
RUN set -eu; \
    case "$TARGETARCH" in \
      amd64) triple=x86_64-unknown-linux-gnu packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" compiler=x86_64-linux-gnu-gcc ;; \
      arm64) triple=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" compiler=aarch64-linux-gnu-gcc ;; \
      *) echo "no image for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    apt-get update; \
    if [ "$(dpkg --print-architecture)" = "$TARGETARCH" ]; then \
      compiler=cc; \
    else \
      apt-get install -y --no-install-recommends $packages; \
      [ -d "$(rustc --print sysroot)/lib/rustlib/$triple/lib" ] || rustup target add "$triple"; \
      dpkg --add-architecture "$TARGETARCH"; \
      apt-get update; \
    fi; \
    # What the binary is linked to, unpacked; where image scanners look for the names and versions of packages.
    mkdir -p /packages /image/var/lib/dpkg/status.d; \
    cd /packages; \
    apt-get download "libc6:$TARGETARCH" "libgcc-s1:$TARGETARCH" "gcc-12-base:$TARGETARCH" ca-certificates; \
    for package in *.deb; do \
      dpkg-deb -x "$package" /image; \
      dpkg-deb -f "$package" >"/image/var/lib/dpkg/status.d/${package%%_*}"; \
    done; \
    rm -rf /packages /var/lib/apt/lists/*; \
    # What the package's own script would make: for API servers whose kubeconfig names no authority of its own.
    mkdir -p /image/etc/ssl/certs; \
    cat /image/usr/share/ca-certificates/mozilla/*.crt >/image/etc/ssl/certs/ca-certificates.crt; \
    # Scripts, single certificates, conversions between character sets, and documents other than licences.
    rm -rf /image/usr/sbin /image/usr/share/ca-certificates /image/usr/share/man /image/usr/lib/*/gconv /image/usr/share/lintian; \
    find /image/usr/share/doc -type f ! -name copyright -delete; \
    # User 65532 as in distroless images; tmp for a run without a volume there.
    mkdir -p /image/etc; \
    echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >/image/etc/passwd; \
    echo 'nonroot:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    install -d -m 1777 /image/tmp; \
    install -d -m 0770 -o 65532 -g 65532 /image/data; \
    upper=$(echo "$triple" | tr a-z- A-Z_); \
    lower=$(echo "$triple" | tr - _); \
    printf 'export TRIPLE=%s CARGO_TARGET_%s_LINKER=%s CC_%s=%s\n' "$triple" "$upper" "$compiler" "$lower" "$compiler" >/build.env
WORKDIR /source
COPY Cargo.toml Cargo.lock build.rs LICENSE README.md ./
COPY .cargo .cargo
COPY src src
COPY crates crates
# Cargo wants to see every target that Cargo.toml names.
COPY benches benches
COPY tests tests
RUN --mount=type=cache,id=registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=target-$TARGETARCH,target=/source/target \
    set -eu; . /build.env; \
    cargo build --profile "$PROFILE" --locked --no-default-features --bin telegram-connector-operator --target "$TRIPLE"; \
    folder=$PROFILE; if [ "$folder" = dev ]; then folder=debug; fi; \
    install -D "target/$TRIPLE/$folder/telegram-connector-operator" /image/usr/local/bin/telegram-connector-operator; \
    install -D -m 0644 LICENSE /image/usr/share/doc/telegram-connector-operator/copyright

FROM scratch
LABEL org.opencontainers.image.title="telegram-connector-operator" \
      org.opencontainers.image.description="Connects Telegram bots to assistants behind an HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
ENV PATH=/usr/local/bin STORE=sqlite:/data/connectors.db
EXPOSE 8080 8443
ENTRYPOINT ["/usr/local/bin/telegram-connector-operator"]
CMD ["run"]
