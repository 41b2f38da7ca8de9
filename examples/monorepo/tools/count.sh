#!/bin/sh
# counts lines
wc -l "$@"
