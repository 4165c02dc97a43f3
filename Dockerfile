# Two stages: the first has compilers and builds, the second has what runs and nothing else.
FROM debian:bookworm-slim AS build
WORKDIR /src
# Packages first: they change less often than the sources.
COPY deploy/setup.sh deploy/setup.sh
RUN deploy/setup.sh
COPY . .
RUN cmake --preset release -DNURSERY_BUILD_TESTS=OFF \
    && cmake --build --preset release \
    && cmake --install build/release --prefix /opt/nursery --strip
# What the programs are linked with, so that the second stage cannot forget a library.
RUN find /opt/nursery/bin /opt/nursery/libexec -type f -executable -exec ldd {} + \
      | awk '$3 ~ "^/" {print $3}' | sort -u | xargs -r realpath \
      | while read -r library; do dpkg -S "$library" || dpkg -S "${library#/usr}"; done \
      | cut -d: -f1 | sort -u > /opt/nursery/packages

FROM debian:bookworm-slim
COPY --from=build /opt/nursery/packages /tmp/packages
RUN apt-get -qq update \
    && xargs -r apt-get -qq install -y --no-install-recommends < /tmp/packages \
    && rm -rf /var/lib/apt/lists/* /tmp/packages \
    && useradd --create-home --uid 1000 nursery
COPY --from=build /opt/nursery/bin /usr/local/bin
COPY --from=build /opt/nursery/libexec /usr/local/libexec
USER nursery
WORKDIR /home/nursery
ENTRYPOINT ["nursery"]
CMD ["--help"]
