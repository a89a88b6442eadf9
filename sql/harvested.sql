-- Lineage: which row of the target came from which record of which source, and what it looked like.

CREATE TABLE gn_harvest.harvested (
    source_id       integer NOT NULL,
    key_number      bigint,
    source_key      text,
    uuid            uuid,
    id_synthese     bigint,
    attributes_hash uuid,
    geometry_hash   uuid,
    first_run       bigint  NOT NULL,
    last_run        bigint  NOT NULL,
    deleted_run     bigint,
    deleted_at      timestamptz,
    cd_nom          integer,
    id_dataset      integer
) WITH (fillfactor = 90);
-- Numeric keys, the common case, live in one lean index; the others in the second.
CREATE UNIQUE INDEX harvested_key_number_idx ON gn_harvest.harvested (source_id, key_number);
CREATE UNIQUE INDEX harvested_source_key_idx ON gn_harvest.harvested (source_id, source_key) WHERE key_number IS NULL;
CREATE INDEX harvested_uuid_idx ON gn_harvest.harvested (uuid);
-- Deletions know the row of the target only.
CREATE INDEX harvested_id_synthese_idx ON gn_harvest.harvested (id_synthese) WHERE id_synthese IS NOT NULL;
COMMENT ON TABLE gn_harvest.harvested IS 'Lineage, one row a harvested record: its key and UUID at the source, its row in the target (id_synthese of gn_synthese.synthese; id of gn_harvest.record for a source whose target is records), hashes of what was written, the runs that wrote it first and last (0: adopted from GN2PG), its taxon and dataset in gn_synthese (for the counts). A null key: its key now names another record and its own new key has not come yet.';

CREATE TABLE gn_harvest.value_mapping (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id    integer REFERENCES gn_harvest.source ON DELETE CASCADE,
    column_name  text    NOT NULL,
    source_value text    NOT NULL,
    local_value  text,
    set_by       name    NOT NULL,
    set_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX value_mapping_key ON gn_harvest.value_mapping (coalesce(source_id, 0), column_name, source_value);
COMMENT ON SEQUENCE gn_harvest.value_mapping_id_seq IS 'Numbers of decisions of map_value.';
COMMENT ON TABLE gn_harvest.value_mapping IS 'Decisions of map_value: a value of a source stands for a local one. Without source: for every source.';

CREATE TABLE gn_harvest.field_mapping (
    source_id     integer NOT NULL REFERENCES gn_harvest.source ON DELETE CASCADE,
    target_column text    NOT NULL,
    source_column text,
    constant      text,
    set_by        name    NOT NULL,
    set_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, target_column),
    CONSTRAINT column_or_constant CHECK (num_nonnulls(source_column, constant) = 1)
);
COMMENT ON TABLE gn_harvest.field_mapping IS 'Decisions of map_field: a column of the export, or a constant, fills a column of the target.';

CREATE TABLE gn_harvest.unmapped (
    source_id    integer     NOT NULL REFERENCES gn_harvest.source ON DELETE CASCADE,
    column_name  text        NOT NULL,
    source_value text        NOT NULL,
    occurrences  bigint      NOT NULL,
    first_run    bigint      NOT NULL,
    last_run     bigint      NOT NULL,
    first_seen   timestamptz NOT NULL DEFAULT now(),
    last_seen    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, column_name, source_value)
);
COMMENT ON TABLE gn_harvest.unmapped IS 'Values that the local referentials do not know, with how often they came.';

-- drop_source keeps the lineage: a source of the same name that comes back takes its rows back.
CREATE TABLE gn_harvest.former_source (
    source_id  integer     PRIMARY KEY,
    name       text        NOT NULL,
    target     text        NOT NULL,
    id_source  integer,
    owner      name        NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    dropped_by name        NOT NULL
);
COMMENT ON TABLE gn_harvest.former_source IS 'Sources that were dropped and whose rows stayed: name and owner, and row in gn_synthese.t_sources, so that one connected again takes its rows back.';

-- What a run found missing at the source; emptied when it is applied. Moves with the slices to the run that resumes.
CREATE TABLE gn_harvest.missing (
    run_id      bigint NOT NULL REFERENCES gn_harvest.run ON DELETE CASCADE,
    id_synthese bigint NOT NULL,
    key_number  bigint,
    source_key  text,
    PRIMARY KEY (run_id, id_synthese)
);
COMMENT ON TABLE gn_harvest.missing IS 'Observations that a run found missing at the source: deleted at its end, unless the loss guard objects.';

-- Only for exports whose keys are no numbers; their runs are not resumed, so it need not survive a crash.
CREATE UNLOGGED TABLE gn_harvest.seen (
    run_id     bigint NOT NULL,
    source_key text   NOT NULL,
    PRIMARY KEY (run_id, source_key)
);
COMMENT ON TABLE gn_harvest.seen IS 'Keys that a reconciling run has read, while it reads an export whose keys are no numbers.';
