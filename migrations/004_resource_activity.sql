-- +goose Up
-- What happened to each resource, kept by a trigger.
CREATE TABLE audit_resource_activity (
    resource_type  text        NOT NULL,
    resource_id    text        NOT NULL,
    events         bigint      NOT NULL CHECK (events > 0),
    failures       bigint      NOT NULL CHECK (failures BETWEEN 0 AND events),
    first_event_at timestamptz NOT NULL,
    last_event_at  timestamptz NOT NULL,
    PRIMARY KEY (resource_type, resource_id)
);

-- Once for each statement, not for each row: a batch touches a resource once.
-- The order of the rows keeps two batches from locking each other out.
-- +goose StatementBegin
CREATE FUNCTION count_resource_activity() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_resource_activity AS activity
    SELECT resource_type, resource_id,
           count(*), count(*) FILTER (WHERE outcome = 'failure'),
           min(occurred_at), max(occurred_at)
    FROM inserted
    GROUP BY resource_type, resource_id
    ORDER BY resource_type, resource_id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET
        events         = activity.events + excluded.events,
        failures       = activity.failures + excluded.failures,
        first_event_at = least(activity.first_event_at, excluded.first_event_at),
        last_event_at  = greatest(activity.last_event_at, excluded.last_event_at);
    RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- Also keeps writers out until the commit, so that the count below misses none.
CREATE TRIGGER audit_events_count_activity
    AFTER INSERT ON audit_events
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION count_resource_activity();

INSERT INTO audit_resource_activity
SELECT resource_type, resource_id,
       count(*), count(*) FILTER (WHERE outcome = 'failure'),
       min(occurred_at), max(occurred_at)
FROM audit_events
GROUP BY resource_type, resource_id;

-- +goose Down
DROP TRIGGER audit_events_count_activity ON audit_events;
DROP FUNCTION count_resource_activity();
DROP TABLE audit_resource_activity;
