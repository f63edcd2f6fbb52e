# The same images as `make images`, for those who have Docker: docker build --target weft-proxy --tag weft-proxy:0.1.0 .
# Targets: weft-proxy, weft-discovery, weft-injector, weft-shop, weft-etcd. What is in each is decided by scripts/images alone.

FROM golang:1.26-bookworm AS etcd
ARG ETCD=3.6.8
WORKDIR /build
# As what a module of ours requires: etcd's own replace lines lead to folders that the published module does not have.
RUN go mod init etcd && go get go.etcd.io/etcd/server/v3@v${ETCD} && \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /etcd go.etcd.io/etcd/server/v3

FROM rust:1.92-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends iptables libprotobuf-dev protobuf-compiler python3
WORKDIR /build
COPY . .
RUN target=$(rustc -vV | sed -n 's/^host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target "$target" \
        --bin weft-proxy --bin weft-discovery --bin weft-injector --bin weft-shop && \
    mv "target/$target/release" /programs
COPY --from=etcd /etcd /etcd
RUN WEFT_ETCD=/etcd scripts/images --programs /programs --out /images --roots

FROM scratch AS weft-proxy
COPY --from=build /images/weft-proxy /
USER 15100
ENTRYPOINT ["weft-proxy"]

FROM scratch AS weft-discovery
COPY --from=build /images/weft-discovery /
USER 65532
ENTRYPOINT ["weft-discovery"]

FROM scratch AS weft-injector
COPY --from=build /images/weft-injector /
USER 65532
ENTRYPOINT ["weft-injector"]

FROM scratch AS weft-shop
COPY --from=build /images/weft-shop /
USER 65532
ENTRYPOINT ["weft-shop"]

FROM scratch AS weft-etcd
COPY --from=build /images/weft-etcd /
USER 65532
ENTRYPOINT ["etcd"]
