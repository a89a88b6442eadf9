-- Metadata: what each source has said of frameworks and datasets, and what was decided about them.

CREATE TABLE gn_harvest.source_metadata (
    source_id      integer NOT NULL REFERENCES gn_harvest.source ON DELETE CASCADE,
    kind           text    NOT NULL,
    uuid           uuid    NOT NULL,
    name           text,
    framework_uuid uuid,
    sample_key     text,
    created        boolean NOT NULL DEFAULT false,
    first_run      bigint  NOT NULL,
    last_run       bigint  NOT NULL,
    looked_at      timestamptz,
    PRIMARY KEY (source_id, kind, uuid),
    CONSTRAINT known_kind CHECK (kind IN ('framework', 'dataset', 'organism'))
);
COMMENT ON TABLE gn_harvest.source_metadata IS 'Frameworks and datasets that a source has described, and organisms that its runs have created. Written by runs.';
COMMENT ON COLUMN gn_harvest.source_metadata.kind IS 'framework, dataset or organism.';
COMMENT ON COLUMN gn_harvest.source_metadata.uuid IS 'UUID at the source; one made from the name where it has none.';
COMMENT ON COLUMN gn_harvest.source_metadata.name IS 'Name at the source.';
COMMENT ON COLUMN gn_harvest.source_metadata.framework_uuid IS 'Framework of a dataset, at the source.';
COMMENT ON COLUMN gn_harvest.source_metadata.sample_key IS 'Key of a record of the dataset: asked for to see whether the dataset has changed when none of its records has.';
COMMENT ON COLUMN gn_harvest.source_metadata.created IS 'Whether a run of this source created it here.';
COMMENT ON COLUMN gn_harvest.source_metadata.first_run IS 'Run that met it first.';
COMMENT ON COLUMN gn_harvest.source_metadata.last_run IS 'Run that met it last.';
COMMENT ON COLUMN gn_harvest.source_metadata.looked_at IS 'When it came last, or was asked for; null: at the next run, first of all.';

CREATE TABLE gn_harvest.metadata_mapping (
    source_id   integer     NOT NULL REFERENCES gn_harvest.source ON DELETE CASCADE,
    kind        text        NOT NULL,
    uuid        uuid        NOT NULL,
    local_uuid  uuid        NOT NULL,
    placed_uuid uuid,
    set_by      name        NOT NULL,
    set_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, kind, uuid),
    CONSTRAINT known_kind CHECK (kind IN ('framework', 'dataset', 'organism'))
);
COMMENT ON TABLE gn_harvest.metadata_mapping IS 'Decisions of map_dataset: a dataset, framework or organism of a source is a local one.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.kind IS 'framework, dataset or organism.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.uuid IS 'UUID at the source.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.local_uuid IS 'UUID of the local one.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.placed_uuid IS 'Local dataset where the observations already written are; null: still in that of the source.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.set_by IS 'Who decided.';
COMMENT ON COLUMN gn_harvest.metadata_mapping.set_at IS 'When.';
