#!/bin/sh
# run_zone.sh AUTONOMY FOLDER: deploys a zone, prints what its programs said to each other, and takes it down.
#
# AUTONOMY is the command. The zone is kept in a folder of its own, and nothing is left of it, whatever happens.
set -eu

autonomy=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$2"
AUTONOMY_HOME=$(mktemp -d)
export AUTONOMY_HOME

take_down() {
    code=$?
    trap - EXIT
    trap '' HUP INT TERM
    "$autonomy" zone delete --yes || [ $? -eq 3 ] || code=1  # 3: it was not there yet
    rm -rf "$AUTONOMY_HOME"
    exit "$code"
}
trap take_down EXIT
trap 'exit 130' HUP INT TERM

"$autonomy" zone deploy
printf '\n'
# What programs say by info(), in the order of its times.
"$autonomy" zone logs >"$AUTONOMY_HOME/logs"
grep ' INFO node ' "$AUTONOMY_HOME/logs" | sort -s -k 3,3
printf '\n'
