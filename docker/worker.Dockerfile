# The worker: one process for one device. Build from the repository's root:
#   docker build -f docker/worker.Dockerfile -t tenon-worker:0.1.0 .
# Run it with the server's address; its folder is a cache and may be lost:
#   docker run tenon-worker:0.1.0 --server tenon-server:7071
FROM debian:12.11-slim AS build
WORKDIR /src
COPY deploy/packages.txt deploy/packages.txt
RUN apt-get update -qq \
 && sed -e 's/#.*//' deploy/packages.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
COPY . .
# LibTorch's own libraries are all that is taken along of its Python package; the program finds them beside itself.
RUN deploy/install.sh \
 && mkdir -p /out/bin /out/lib/torch \
 && cp build/release/bin/tenon-worker /out/bin/ \
 && cp -a build/venv/lib/python3*/site-packages/torch/lib/*.so* /out/lib/torch/

FROM debian:12.11-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates curl libabsl20220623 libgomp1 libgrpc++1.51 libicu72 libprometheus-cpp-core1.0 libprometheus-cpp-pull1.0 \
      libprotobuf32 libspdlog1.10 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 -m 0750 /var/cache/tenon
COPY --from=build /out/bin/tenon-worker /usr/local/bin/
COPY --from=build /out/lib/torch /usr/local/lib/tenon-torch
ENV LD_LIBRARY_PATH=/usr/local/lib/tenon-torch
LABEL org.opencontainers.image.title="tenon-worker" org.opencontainers.image.description="Trains and serves adapters on one device" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
VOLUME /var/cache/tenon
EXPOSE 9465
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:9465/metrics"]
ENTRYPOINT ["tenon-worker", "--cache", "/var/cache/tenon", "--metrics-listen", "0.0.0.0:9465"]
CMD ["--server", "tenon-server:7071", "--device", "cpu"]
