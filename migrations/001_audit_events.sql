-- +goose Up
CREATE TYPE audit_outcome AS ENUM ('success', 'failure', 'pending');

-- A unique key of a partitioned table must contain the partition key, so
-- audit_events alone could hold one event_id twice, at two times. This table
-- is what makes event_id unique: every event is registered here first.
CREATE TABLE audit_event_ids (
    event_id    uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    occurred_at timestamptz NOT NULL,
    UNIQUE (occurred_at, event_id)
);

CREATE TABLE audit_events (
    event_id       uuid          NOT NULL,
    occurred_at    timestamptz   NOT NULL,
    recorded_at    timestamptz   NOT NULL DEFAULT now(),
    event_type     text          NOT NULL CHECK (char_length(event_type) BETWEEN 1 AND 100),
    actor          text          NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 255),
    resource_type  text          NOT NULL CHECK (char_length(resource_type) BETWEEN 1 AND 100),
    resource_id    text          NOT NULL CHECK (char_length(resource_id) BETWEEN 1 AND 255),
    outcome        audit_outcome NOT NULL,
    correlation_id text          CHECK (char_length(correlation_id) BETWEEN 1 AND 255),
    event_data     jsonb         NOT NULL CHECK (jsonb_typeof(event_data) = 'object'),
    PRIMARY KEY (occurred_at, event_id),
    FOREIGN KEY (occurred_at, event_id) REFERENCES audit_event_ids (occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);

-- Takes every event of a month that has no partition of its own.
CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;

-- +goose Down
DROP TABLE audit_events;
DROP TABLE audit_event_ids;
DROP TYPE audit_outcome;
