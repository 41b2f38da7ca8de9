#!/bin/sh
# checksums
sha256sum "$@"
