#!/bin/bash
# Runs once, in an empty data folder: one role and one database for each service, closed to the others.
set -euo pipefail
for service in parking charging waste; do
    secret=${service^^}_DATABASE_PASSWORD
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set service="$service" --set password="${!secret}" <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service" TEMPLATE template0;
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
