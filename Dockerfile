# One image for every command of CityLoop: docker run cityloop:VERSION <service> api|worker|migrate, issuer, doctor ...
# The base is pinned by tag; a release pins it by digest too: --build-arg BASE_DIGEST=@sha256:...
ARG BASE_IMAGE=python:3.13-slim-trixie
ARG BASE_DIGEST=

FROM ${BASE_IMAGE}${BASE_DIGEST} AS build
# Any make will do, and nothing of this stage is kept.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make image-root DEST=/app

FROM ${BASE_IMAGE}${BASE_DIGEST} AS final
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="CityLoop" \
      org.opencontainers.image.description="Parking, charging and waste logistics of a city" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# pg_dump and pg_restore, for `cityloop backup`: of PostgreSQL 17, as the servers of docker-compose.yml.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
# The base's own pip goes, too; what is left to write to is /var/lib/cityloop, /backups (a volume of whoever makes backups) and /tmp.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/cityloop /backups
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CITYLOOP_HOST=0.0.0.0 \
    CITYLOOP_VAR=/var/lib/cityloop
WORKDIR /var/lib/cityloop
USER 10001:10001
# The image is not made when its command does not run as this user.
RUN cityloop settings >/dev/null
EXPOSE 8080
STOPSIGNAL SIGTERM
# Compose and Kubernetes ask each process in its own way.
HEALTHCHECK NONE
ENTRYPOINT ["cityloop"]
CMD ["--help"]
