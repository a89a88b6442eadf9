-- Dead letters: records that could not be written, kept whole until they can.

CREATE TABLE gn_harvest.rejected (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id      integer     NOT NULL REFERENCES gn_harvest.source ON DELETE CASCADE,
    identity       text        NOT NULL,
    source_key     text,
    uuid           uuid,
    reason         text        NOT NULL,
    column_name    text,
    value          text,
    message        text        NOT NULL,
    sqlstate       text,
    payload        json        NOT NULL,
    payload_hash   uuid        NOT NULL,
    attempts       integer     NOT NULL DEFAULT 1,
    first_run      bigint      NOT NULL,
    last_run       bigint      NOT NULL,
    first_seen     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now(),
    discarded_at   timestamptz,
    discarded_by   name,
    discard_note   text,
    UNIQUE (source_id, identity)
);
-- Each run asks which records wait for a dataset.
CREATE INDEX rejected_dataset_idx ON gn_harvest.rejected (source_id, value) WHERE reason = 'unmapped_dataset';
COMMENT ON TABLE gn_harvest.rejected IS 'One row a record that is waiting: why, and its JSON item as it came. A record that is written later leaves the table; one that was discarded stays as a trace, and comes back if the source changes it.';
