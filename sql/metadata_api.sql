-- Decisions on metadata: map_dataset, unmap_dataset; and what waits for one: metadata_review.

-- Only plain tables and columns are read here: this runs with the rights of the extension's owner.
CREATE FUNCTION gn_harvest.is_local(schema_name text, table_name text, column_name text, wanted uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_one boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                   JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE n.nspname = schema_name AND c.relname = table_name AND c.relkind = 'r'
                     AND a.attname = column_name AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped) THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %I.%I WHERE %I = $1)', schema_name, table_name, column_name)
    INTO found_one USING wanted;
    RETURN found_one;
END
$$;
COMMENT ON FUNCTION gn_harvest.is_local(text, text, text, uuid) IS 'Whether a table of the target, if it is there, has a row of this UUID.';

CREATE FUNCTION gn_harvest.map_dataset(source text, uuid uuid, local_uuid uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    mapped_source integer := (gn_harvest.managed_source(source)).id;
    found_kind    text;
BEGIN
    PERFORM gn_harvest.require_observations(gn_harvest.managed_source(source));
    IF uuid IS NULL OR local_uuid IS NULL THEN
        RAISE EXCEPTION 'map_dataset needs two UUIDs, that of the source and the local one' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT * FROM gn_harvest.metadata_review; shows those that wait. unmap_dataset takes a decision back.';
    END IF;
    found_kind := CASE WHEN gn_harvest.is_local('gn_meta', 't_datasets', 'unique_dataset_id', local_uuid) THEN 'dataset'
                       WHEN gn_harvest.is_local('gn_meta', 't_acquisition_frameworks', 'unique_acquisition_framework_id', local_uuid) THEN 'framework'
                       WHEN gn_harvest.is_local('utilisateurs', 'bib_organismes', 'uuid_organisme', local_uuid) THEN 'organism' END;
    IF found_kind IS NULL THEN
        RAISE EXCEPTION 'nothing here has the UUID %', local_uuid USING ERRCODE = 'no_data_found',
            DETAIL = 'It is neither a dataset, nor an acquisition framework, nor an organism of this database.',
            HINT = 'SELECT unique_dataset_id, dataset_name FROM gn_meta.t_datasets; the local one comes last: map_dataset(source, uuid, local_uuid).';
    END IF;
    IF EXISTS (SELECT FROM gn_harvest.source_metadata m
               WHERE m.source_id = mapped_source AND m.uuid = map_dataset.uuid
               HAVING bool_and(m.kind <> found_kind) AND count(*) > 0) THEN
        RAISE EXCEPTION '% is no % at the source', uuid, found_kind USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('%s is a local %s.', local_uuid, found_kind),
            HINT = 'Map a dataset to a dataset, a framework to a framework, an organism to an organism.';
    END IF;
    INSERT INTO gn_harvest.metadata_mapping AS p (source_id, kind, uuid, local_uuid, set_by)
    VALUES (mapped_source, found_kind, uuid, local_uuid, gn_harvest.caller())
    ON CONFLICT ON CONSTRAINT metadata_mapping_pkey
    DO UPDATE SET local_uuid = EXCLUDED.local_uuid, set_by = EXCLUDED.set_by, set_at = now();
END
$$;
COMMENT ON FUNCTION gn_harvest.map_dataset(text, uuid, uuid) IS 'A dataset of a source is a local one; the same for an acquisition framework or an organism. Observations already written move to the local dataset at the next run; what is mapped is no longer created nor changed.';

CREATE FUNCTION gn_harvest.unmap_dataset(source text, uuid uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source integer := (gn_harvest.managed_source(source)).id;
BEGIN
    DELETE FROM gn_harvest.metadata_mapping p WHERE p.source_id = mapped_source AND p.uuid = unmap_dataset.uuid;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION gn_harvest.unmap_dataset(text, uuid) IS 'Takes a decision of map_dataset back; false when there was none. Observations already written follow at the next full run.';

-- Rights are those of who asks: what one may not read here is not shown.
CREATE FUNCTION gn_harvest.local_metadata() RETURNS TABLE (kind text, uuid uuid, name text, is_open boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
BEGIN
    FOR place IN SELECT * FROM gn_harvest.local_table() LOOP
        RETURN QUERY EXECUTE format('SELECT %L::text, t.%I::uuid, t.%I::text, coalesce((to_jsonb(t) ->> %L)::boolean, true) FROM %s t',
                                    place.kind, place.uuid_column, place.name_column, place.open_column, place.relation);
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.local_metadata() IS 'Datasets, frameworks and organisms of this database that the caller may read; none where there is no GeoNature. is_open: the dataset is active, the framework is not closed.';

CREATE FUNCTION gn_harvest.local_table() RETURNS TABLE (kind text, relation text, uuid_column text, name_column text, open_column text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.kind, format('%I.%I', w.schema_name, w.table_name), w.uuid_column, w.name_column, w.open_column
    FROM (VALUES ('dataset', 'gn_meta', 't_datasets', 'unique_dataset_id', 'dataset_name', 'active'),
                 ('framework', 'gn_meta', 't_acquisition_frameworks', 'unique_acquisition_framework_id', 'acquisition_framework_name', 'opened'),
                 ('organism', 'utilisateurs', 'bib_organismes', 'uuid_organisme', 'nom_organisme', ''))
         w(kind, schema_name, table_name, uuid_column, name_column, open_column)
    JOIN pg_namespace n ON n.nspname = w.schema_name AND has_schema_privilege(n.oid, 'USAGE')
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name AND has_table_privilege(c.oid, 'SELECT')
$$;
COMMENT ON FUNCTION gn_harvest.local_table() IS 'Tables of datasets, frameworks and organisms of this database that the caller may read.';

CREATE FUNCTION gn_harvest.likely_match(of_kind text, of_name text, besides uuid[]) RETURNS TABLE (uuid uuid, name text, similarity numeric)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place   record;
    trigram text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm');
    likeness text := 'CASE WHEN lower(%1$s) = lower($1) THEN 1 ELSE 0 END';
BEGIN
    IF has_schema_privilege(trigram, 'USAGE') THEN
        likeness := format('%I.similarity(lower(%%1$s), lower($1))', trigram);
    END IF;
    SELECT * INTO place FROM gn_harvest.local_table() l WHERE l.kind = of_kind;
    IF of_name IS NULL OR NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT c.uuid, c.name, round(c.likeness::numeric, 2)
         FROM (SELECT t.%1$I::uuid AS uuid, t.%2$I::text AS name, %3$s AS likeness FROM %4$s t WHERE NOT t.%1$I = ANY ($2)) c
         WHERE c.likeness >= 0.4 ORDER BY c.likeness DESC, c.name LIMIT 1',
        place.uuid_column, place.name_column, format(likeness, format('t.%I::text', place.name_column)), place.relation)
    USING of_name, besides;
END
$$;
COMMENT ON FUNCTION gn_harvest.likely_match(text, text, uuid[]) IS 'The local dataset, framework or organism whose name is the most like a name, leaving some out: by trigrams when pg_trgm is installed, else of the same name but for case.';

CREATE VIEW gn_harvest.metadata_review WITH (security_barrier) AS
SELECT s.name AS source,
       m.kind,
       m.uuid,
       m.name,
       CASE WHEN NOT here.is_open AND m.kind = 'dataset' THEN 'inactive'
            WHEN NOT here.is_open THEN 'closed'
            WHEN s.metadata_mode = 'mapped' THEN 'waiting'
            ELSE 'new' END AS state,
       m.framework_uuid,
       here.uuid AS local_uuid,
       (SELECT count(*) FROM gn_harvest.rejected j
        WHERE m.kind = 'dataset' AND j.source_id = m.source_id AND j.reason = 'unmapped_dataset' AND j.value = m.uuid::text
          AND j.discarded_at IS NULL) AS rejected,
       l.uuid AS likely_uuid,
       l.name AS likely_name,
       l.similarity,
       format('SELECT gn_harvest.map_dataset(%L, %L, %L);', s.name, m.uuid, coalesce(l.uuid::text, '…')) AS call
FROM gn_harvest.source_metadata m
JOIN gn_harvest.source s ON s.id = m.source_id
LEFT JOIN gn_harvest.metadata_mapping p ON p.source_id = m.source_id AND p.kind = m.kind AND p.uuid = m.uuid
LEFT JOIN gn_harvest.local_metadata() here ON here.kind = m.kind AND here.uuid = coalesce(p.local_uuid, m.uuid)
LEFT JOIN LATERAL gn_harvest.likely_match(m.kind, m.name,
    ARRAY(SELECT made.uuid FROM gn_harvest.source_metadata made WHERE made.kind = m.kind AND made.created) || m.uuid) l ON true
WHERE m.source_id IN (SELECT gn_harvest.visible_source(current_user))
  AND (NOT here.is_open
       OR p.uuid IS NULL
          AND (s.metadata_mode = 'mapped' AND m.kind = 'dataset'
               OR EXISTS (SELECT FROM gn_harvest.source_metadata made
                          WHERE made.kind = m.kind AND made.uuid = m.uuid AND made.created)));
COMMENT ON VIEW gn_harvest.metadata_review IS 'Frameworks, datasets and organisms that wait for a look of the data manager: created by a run, not mapped in mode mapped, or closed here; with the local one that they may be.';
COMMENT ON COLUMN gn_harvest.metadata_review.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.metadata_review.kind IS 'framework, dataset or organism.';
COMMENT ON COLUMN gn_harvest.metadata_review.uuid IS 'UUID at the source.';
COMMENT ON COLUMN gn_harvest.metadata_review.name IS 'Name at the source.';
COMMENT ON COLUMN gn_harvest.metadata_review.state IS 'new (a run created it), waiting (not mapped: its records are rejected), inactive (the local dataset), closed (the local framework).';
COMMENT ON COLUMN gn_harvest.metadata_review.framework_uuid IS 'Framework of the dataset at the source.';
COMMENT ON COLUMN gn_harvest.metadata_review.local_uuid IS 'What it is here now; null when it is not here or one may not read it.';
COMMENT ON COLUMN gn_harvest.metadata_review.rejected IS 'Records that wait for the dataset.';
COMMENT ON COLUMN gn_harvest.metadata_review.likely_uuid IS 'UUID of the local one with the most similar name.';
COMMENT ON COLUMN gn_harvest.metadata_review.likely_name IS 'Its name.';
COMMENT ON COLUMN gn_harvest.metadata_review.similarity IS 'How similar the names are, from 0 to 1 (pg_trgm; without it, only same names are found).';
COMMENT ON COLUMN gn_harvest.metadata_review.call IS 'The call that maps it.';
