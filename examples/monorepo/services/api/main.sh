# the api service
self_test "$@"
log "api is up"
exec sleep 1000000
