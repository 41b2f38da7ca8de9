# one line for each thing that happens
log() { echo "$(date -u +%FT%TZ) $*" >&2; }
