# The server: scheduler, catalog, retrieval. Build from the repository's root:
#   docker build -f docker/server.Dockerfile -t tenon-server:0.1.0 .
# State lives in the volume /var/lib/tenon. Inside a container it has to listen on every address; publish 7070 (clients), 7071 (workers) and 9464 (metrics)
# only where their callers are.
FROM debian:12.11-slim AS build
WORKDIR /src
COPY deploy/packages.txt deploy/packages.txt
RUN apt-get update -qq \
 && sed -e 's/#.*//' deploy/packages.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
COPY . .
RUN deploy/install.sh

FROM debian:12.11-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates libabsl20220623 libcurl4 libgomp1 libgrpc++1.51 libicu72 liblapack3 libopenblas0-pthread libprometheus-cpp-core1.0 \
      libprometheus-cpp-pull1.0 libprotobuf32 libspdlog1.10 libsqlite3-0 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 -m 0750 /var/lib/tenon
COPY --from=build /src/build/release/bin/tenon-server /src/build/release/bin/tenon /usr/local/bin/
LABEL org.opencontainers.image.title="tenon-server" org.opencontainers.image.description="Scheduler of fine-tuned adapters on shared base models" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
VOLUME /var/lib/tenon
EXPOSE 7070 7071 9464
# Liveness must not depend on workers: `tenon status` asks the process alone.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["tenon", "--server", "127.0.0.1:7070", "--timeout", "4s", "status"]
ENTRYPOINT ["tenon-server", "--data", "/var/lib/tenon"]
CMD ["--allow-remote", "--listen", "0.0.0.0:7070", "--workers-listen", "0.0.0.0:7071", "--metrics-listen", "0.0.0.0:9464"]
