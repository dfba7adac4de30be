#!/bin/sh
# Gives PostgreSQL, where it has no data yet, what an earlier run has kept, and
# starts it as its image does. What is of no use is left alone: the image then
# makes a cluster of its own.
set -eu
new=$PGDATA.new
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Complete before it has its name: a container may be ended at any moment.
    rm -rf "$new"
    cp -R /recipe/data "$new"
    # Before anybody can reach it: the password of this run, and the number of
    # the last transaction.
    printf '%s\n' "$RECIPE_START" |
        PGDATA=$new docker-entrypoint.sh postgres --single -F -D "$new" postgres |
        sed -n 's/.* pg_current_xact_id = "\([0-9]*\)".*/\1/p' > "$new.start"
    if [ -s "$new.start" ]; then
        mv "$new.start" "$new/recipe.start"
        mv "$new" "$PGDATA"
    fi
    rm -rf "$new" "$new.start"
fi
exec docker-entrypoint.sh "$@"
