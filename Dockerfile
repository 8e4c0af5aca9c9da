# Both programs on a small Debian: docker build -t rslad . && docker run --rm -v "$PWD:/work" rslad distill --help
# With an NVIDIA card: docker run --gpus all, and --device cuda; the driver comes from the host.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /rslad
COPY . .
RUN apt-get update -qq && apt-get install -y -qq git \
    && cargo install --locked --path stage1-label --root /out \
    && cargo install --locked --path stage2-distill --root /out \
    && strip /out/bin/label /out/bin/distill

FROM debian:bookworm-slim
COPY --from=build /out/bin/label /out/bin/distill /usr/local/bin/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
CMD ["label", "--help"]
