-- +goose Up
-- Gives the month of `day` (in UTC) a partition of its own, moves its events
-- there from the default partition, and returns the partition's name. Calling
-- it again, also at the same time from elsewhere, changes nothing.
-- +goose StatementBegin
CREATE FUNCTION ensure_audit_partition(day date) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    month  timestamp   := date_trunc('month', day::timestamp);
    child  text        := 'audit_events_' || to_char(month, 'YYYY_MM');
    starts timestamptz := month AT TIME ZONE 'UTC';
    ends   timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN child;
    END IF;

    -- ATTACH needs these locks in the end. Writers lock the ids before any
    -- partition; taking the locks in another order could deadlock with them.
    LOCK TABLE audit_event_ids IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE ONLY audit_events IN SHARE UPDATE EXCLUSIVE MODE;
    LOCK TABLE audit_events_default IN ACCESS EXCLUSIVE MODE;
    IF to_regclass(child) IS NOT NULL THEN
        RETURN child;  -- another session was faster
    END IF;

    EXECUTE format('CREATE TABLE %I (LIKE audit_events INCLUDING ALL)', child);
    EXECUTE format(
        'WITH moved AS (
             DELETE FROM audit_events_default
             WHERE occurred_at >= %L AND occurred_at < %L
             RETURNING *
         )
         INSERT INTO %I SELECT * FROM moved',
        starts, ends, child);
    EXECUTE format(
        'ALTER TABLE audit_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        child, starts, ends);
    RETURN child;
END;
$$;
-- +goose StatementEnd

SELECT ensure_audit_partition((now() AT TIME ZONE 'UTC')::date);
SELECT ensure_audit_partition((now() AT TIME ZONE 'UTC' + interval '1 month')::date);

-- +goose Down
DROP FUNCTION ensure_audit_partition(date);

-- Keeps the events: they go back to the default partition.
-- +goose StatementBegin
DO $$
DECLARE
    child regclass;
BEGIN
    FOR child IN
        SELECT inhrelid::regclass
        FROM pg_inherits
        WHERE inhparent = 'audit_events'::regclass
          AND inhrelid <> 'audit_events_default'::regclass
    LOOP
        EXECUTE format('ALTER TABLE audit_events DETACH PARTITION %s', child);
        EXECUTE format('INSERT INTO audit_events_default SELECT * FROM %s', child);
        EXECUTE format('DROP TABLE %s', child);
    END LOOP;
END;
$$;
-- +goose StatementEnd
