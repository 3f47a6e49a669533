#!/bin/bash
# Asks a broker for its metadata over the wire, without starting a JVM: ready when one broker is not fenced. HOST PORT
set -euo pipefail
exec 3<>"/dev/tcp/${1:-127.0.0.1}/${2:-9092}"
# 14 bytes: Metadata, version 1, correlation 1, no client id, no topics. The answer: length, correlation, number of brokers.
printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' >&3
brokers=$(timeout 3 head -c 12 <&3 | od -An -v -tu1 | tr -s ' \n' ' ' | cut -d ' ' -f 13)
[ "${brokers:-0}" -gt 0 ]
