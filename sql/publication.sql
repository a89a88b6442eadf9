-- Publications: what a partner's GeoNature publishes for collectors (publish_export), and what has left it.

CREATE TABLE gn_harvest.publication (
    slug                text        PRIMARY KEY,
    label               text        NOT NULL UNIQUE,
    owner               name        NOT NULL,
    datasets            uuid[],
    frameworks          uuid[],
    organisms           uuid[],
    areas               text[],
    taxa                integer[],
    date_min            date,
    date_max            date,
    sensitivity_max     text,
    diffusion_levels    text[],
    blurred             boolean     NOT NULL DEFAULT false,
    personal_data       boolean     NOT NULL DEFAULT true,
    observations_export integer,
    metadata_export     integer,
    deletions_export    integer,
    edition             integer     NOT NULL DEFAULT 1,
    selection           bigint      NOT NULL DEFAULT 1,
    marker              text        GENERATED ALWAYS AS
        ('metadata=' || metadata_export::text || ';deletions=' || deletions_export::text || ';selection=' || selection::text) STORED,
    published_at        timestamptz NOT NULL DEFAULT now(),
    -- It is part of the names of views, triggers and functions.
    CONSTRAINT slug_is_plain CHECK (slug ~ '^[a-z0-9_]{1,28}$'),
    CONSTRAINT label_is_plain CHECK (label ~ '^\S(.{0,198}\S)?$')
);
COMMENT ON TABLE gn_harvest.publication IS 'One row a publication: its options, its exports. Written by publish_export; the published views read its marker.';
COMMENT ON COLUMN gn_harvest.publication.slug IS 'The label in the names of the views.';
COMMENT ON COLUMN gn_harvest.publication.edition IS 'Number of the options: rows of publication_scope are those of one edition.';
COMMENT ON COLUMN gn_harvest.publication.selection IS 'Moves when rows have come in that do not bear a new date: collectors then read everything and compare.';
COMMENT ON COLUMN gn_harvest.publication.marker IS 'What the column gn_harvest of the observations view says: the other two exports and the selection.';

CREATE TABLE gn_harvest.publication_scope (
    slug    text    NOT NULL REFERENCES gn_harvest.publication ON DELETE CASCADE,
    edition integer NOT NULL,
    kind    text    NOT NULL CHECK (kind IN ('dataset', 'taxon', 'area')),
    id      integer NOT NULL,
    PRIMARY KEY (slug, edition, kind, id)
);
COMMENT ON TABLE gn_harvest.publication_scope IS 'What the filters of a publication let through: id_dataset, cd_nom with those below, id_area.';

CREATE TABLE gn_harvest.departure (
    slug        text      NOT NULL REFERENCES gn_harvest.publication ON DELETE CASCADE,
    id_synthese integer   NOT NULL,
    uuid        uuid,
    left_at     timestamp NOT NULL,
    PRIMARY KEY (slug, id_synthese)
);
CREATE INDEX departure_left_at ON gn_harvest.departure (slug, left_at);
COMMENT ON TABLE gn_harvest.departure IS 'Observations that were published and then deleted, or changed so that they may have left. The published view tells those that are not there any more.';
COMMENT ON COLUMN gn_harvest.departure.left_at IS 'On the clock of the database''s sessions, without zone, as GeoNature writes its dates.';
-- A publisher reads what left its own publications: a policy for each (watch_publication).
ALTER TABLE gn_harvest.departure ENABLE ROW LEVEL SECURITY;

CREATE TABLE gn_harvest.metadata_change (
    id_acquisition_framework integer   PRIMARY KEY,
    changed_at               timestamp NOT NULL
);
COMMENT ON TABLE gn_harvest.metadata_change IS 'When something of a framework last changed that does not move its own date: its lists, its datasets, their lists, its actors.';

CREATE VIEW gn_harvest.published_export AS
SELECT p.label, p.owner, p.observations_export, p.metadata_export, p.deletions_export,
       format('gn_exports.v_%s_observations', p.slug) AS observations_view,
       array_remove(ARRAY[CASE WHEN p.datasets IS NOT NULL THEN 'datasets' END, CASE WHEN p.frameworks IS NOT NULL THEN 'frameworks' END,
                          CASE WHEN p.organisms IS NOT NULL THEN 'organisms' END, CASE WHEN p.areas IS NOT NULL THEN 'areas' END,
                          CASE WHEN p.taxa IS NOT NULL THEN 'taxa' END, CASE WHEN p.date_min IS NOT NULL THEN 'date_min' END,
                          CASE WHEN p.date_max IS NOT NULL THEN 'date_max' END,
                          CASE WHEN p.sensitivity_max IS NOT NULL THEN 'sensitivity_max' END,
                          CASE WHEN p.diffusion_levels IS NOT NULL THEN 'diffusion_levels' END], NULL) AS filters,
       p.blurred, p.personal_data, p.published_at
FROM gn_harvest.publication p
WHERE gn_harvest.sees_everything(current_user) OR gn_harvest.may_manage(current_user, p.owner);
COMMENT ON VIEW gn_harvest.published_export IS 'What this GeoNature publishes for collectors (publish_export).';
COMMENT ON COLUMN gn_harvest.published_export.label IS 'Label, also that of the export in the export module.';
COMMENT ON COLUMN gn_harvest.published_export.owner IS 'Role that owns the views: they read with its rights.';
COMMENT ON COLUMN gn_harvest.published_export.observations_export IS 'Number of the export of observations.';
COMMENT ON COLUMN gn_harvest.published_export.metadata_export IS 'Number of the export of metadata.';
COMMENT ON COLUMN gn_harvest.published_export.deletions_export IS 'Number of the export of what was deleted or left.';
COMMENT ON COLUMN gn_harvest.published_export.observations_view IS 'The view of observations.';
COMMENT ON COLUMN gn_harvest.published_export.filters IS 'Options that leave something out.';
COMMENT ON COLUMN gn_harvest.published_export.blurred IS 'Whether sensitive observations have the geometry of an area.';
COMMENT ON COLUMN gn_harvest.published_export.personal_data IS 'Whether names of persons are published.';
COMMENT ON COLUMN gn_harvest.published_export.published_at IS 'When publish_export last ran for it.';
