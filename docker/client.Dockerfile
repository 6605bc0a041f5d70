# The `tenon` command. Build from the repository's root, and name the server:
#   docker build -f docker/client.Dockerfile -t tenon:0.1.0 .
#   docker run -e TENON_SERVER=tenon-server:7070 tenon:0.1.0 status
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
      ca-certificates libabsl20220623 libcurl4 libgrpc++1.51 libprotobuf32 libssl3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/release/bin/tenon /usr/local/bin/
LABEL org.opencontainers.image.title="tenon" org.opencontainers.image.description="Command line of Tenon" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
WORKDIR /data
# A command runs and ends: there is nothing that could be unhealthy.
HEALTHCHECK NONE
ENTRYPOINT ["tenon"]
CMD ["--help"]
