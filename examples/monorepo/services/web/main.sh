# the web service
self_test "$@"
log "web is up"
exec sleep 1000000
