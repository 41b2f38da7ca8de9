# the worker service
self_test "$@"
log "worker is up"
exec sleep 1000000
