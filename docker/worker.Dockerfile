# The worker: one process for one device. Build from the repository's root:
#   docker build -f docker/worker.Dockerfile -t tenon-worker:0.1.0 .
# Run it with the server's address; its folder is a cache and may be lost:
#   docker run tenon-worker:0.1.0 --server tenon-server:7071
# Where pip's index is the public one, its torch is a build for CUDA: the image then has some GB of NVIDIA's libraries and runs on
# both, with `--gpus all` and `--device cuda:0` on the machine's first GPU. For a small image that runs on CPUs alone, name PyTorch's
# own index of CPU builds: --build-arg PIP_EXTRA_INDEX_URL=...
FROM debian:12.11-slim AS build
WORKDIR /src
COPY deploy/packages.txt deploy/packages.txt
RUN apt-get update -qq \
 && sed -e 's/#.*//' deploy/packages.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
COPY . .
# Read by pip.
ARG PIP_EXTRA_INDEX_URL
# Shared libraries are all that is taken along of the Python packages.
RUN deploy/install.sh && docker/take_torch.sh build/venv /out/torch

FROM debian:12.11-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates curl libabsl20220623 libgomp1 libgrpc++1.51 libicu72 libprometheus-cpp-core1.0 libprometheus-cpp-pull1.0 \
      libprotobuf32 libspdlog1.10 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 -m 0750 /var/cache/tenon
COPY --from=build /src/build/release/bin/tenon-worker /usr/local/bin/
COPY --from=build /out/torch /usr/local/lib/tenon-torch
# Every folder of them: with a build for CUDA, the program itself names libraries of several.
RUN find /usr/local/lib/tenon-torch -name '*.so*' -printf '%h\n' | sort -u > /etc/ld.so.conf.d/tenon-torch.conf && ldconfig
LABEL org.opencontainers.image.title="tenon-worker" org.opencontainers.image.description="Trains and serves adapters on one device" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
VOLUME /var/cache/tenon
EXPOSE 9465
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:9465/metrics"]
ENTRYPOINT ["tenon-worker", "--cache", "/var/cache/tenon", "--metrics-listen", "0.0.0.0:9465"]
CMD ["--server", "tenon-server:7071", "--device", "cpu"]
