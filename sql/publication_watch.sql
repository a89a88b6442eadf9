-- What is watched at the source. Of observations: only what can make one leave a publication. The triggers fire on
-- deletions, and on updates of a row that may be published so that it may no longer be (a WHEN condition: any other
-- update calls nothing, nor does an observation that is new and gets its sensitivity). They run before the change and
-- note each row that was published; the deletions view leaves out those that still are. Of metadata: every change, to date the framework. A failure here never fails GeoNature's own write.

CREATE FUNCTION gn_harvest.selection_changed(a_slug text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE gn_harvest.publication SET selection = selection + 1 WHERE slug = a_slug
$$;
COMMENT ON FUNCTION gn_harvest.selection_changed(text) IS 'Tells collectors to read a publication whole and to compare.';

CREATE FUNCTION gn_harvest.note_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.selection_changed(p.slug) FROM gn_harvest.publication p;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_truncation() IS 'Trigger: all observations are gone at once.';

-- The statements that make a publication watched; run by watch_publication.
CREATE FUNCTION gn_harvest.publication_watch_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text   := coalesce(gn_harvest.publication_filter(p, 'OLD'), 'true');
    leaves     text;
    statements text[] := ARRAY[
        format('CREATE OR REPLACE FUNCTION gn_harvest.left_%1$s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $watch$
DECLARE
    was_published boolean := false;
BEGIN
    -- Apart: a later GeoNature that has not these columns keeps working, and collectors compare.
    BEGIN
        was_published := (%2$s);
    EXCEPTION WHEN OTHERS THEN
        PERFORM gn_harvest.selection_changed(%1$L);
        RAISE WARNING ''gn_harvest: what leaves publication %1$s can not be told: %%'', SQLERRM;
    END;
    IF was_published THEN
        INSERT INTO gn_harvest.departure (slug, id_synthese, uuid, left_at)
        VALUES (%1$L, OLD.id_synthese, OLD.unique_id_sinp, localtimestamp)
        ON CONFLICT (slug, id_synthese) DO UPDATE SET uuid = excluded.uuid, left_at = excluded.left_at;
    END IF;
    IF TG_OP = ''DELETE'' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$watch$', p.slug, conditions),
        format('COMMENT ON FUNCTION gn_harvest.left_%s() IS %L', p.slug, format('Trigger: notes what may leave the publication "%s".', p.label)),
        format('REVOKE ALL ON FUNCTION gn_harvest.left_%s() FROM PUBLIC', p.slug),
        format('CREATE TRIGGER zz_gn_harvest_%1$s_delete BEFORE DELETE ON gn_synthese.synthese
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.left_%1$s()', p.slug)];
BEGIN
    -- Geometries by their bytes: their own operators are not on the search path.
    SELECT string_agg(c.leaves, E'\n     OR ') INTO leaves
    FROM (SELECT format('OLD.%1$I%2$s IS DISTINCT FROM NEW.%1$I%2$s', l, CASE l WHEN 'the_geom_local' THEN '::bytea' ELSE '' END)
          FROM unnest(gn_harvest.publication_lookups(p)) l
          UNION ALL
          SELECT format('(%s) IS NOT TRUE', gn_harvest.publication_plain_filter(p, 'NEW'))
          WHERE gn_harvest.publication_plain_filter(p, 'NEW') IS NOT NULL) c(leaves);
    IF leaves IS NOT NULL THEN
        statements := statements || format('CREATE TRIGGER zz_gn_harvest_%1$s_update BEFORE UPDATE ON gn_synthese.synthese
    FOR EACH ROW WHEN ((%2$s)
    AND (%3$s))
    EXECUTE FUNCTION gn_harvest.left_%1$s()', p.slug, coalesce(gn_harvest.publication_plain_filter(p, 'OLD'), 'true'), leaves);
    END IF;
    RETURN statements;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_watch_sql(gn_harvest.publication) IS 'The statements by which what leaves a publication is noted.';

CREATE FUNCTION gn_harvest.publication_unwatch_sql(a_slug text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[format('DROP TRIGGER IF EXISTS zz_gn_harvest_%s_update ON gn_synthese.synthese', a_slug),
                 format('DROP TRIGGER IF EXISTS zz_gn_harvest_%s_delete ON gn_synthese.synthese', a_slug)]
$$;
COMMENT ON FUNCTION gn_harvest.publication_unwatch_sql(text) IS 'The statements that remove the triggers of a publication.';

-- Areas that change, with the links of observations to them, while the observations themselves do not.
CREATE FUNCTION gn_harvest.note_area_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p gn_harvest.publication;
BEGIN
    FOR p IN SELECT o.* FROM gn_harvest.publication o
             WHERE EXISTS (SELECT FROM gn_harvest.publication_scope c
                           WHERE c.slug = o.slug AND c.edition = o.edition AND c.kind = 'area' AND c.id = OLD.id_area)
    LOOP
        PERFORM gn_harvest.note_departures(p, format('EXISTS (SELECT FROM gn_synthese.cor_area_synthese k WHERE k.id_synthese = s.id_synthese AND k.id_area = %s)', OLD.id_area));
        PERFORM gn_harvest.selection_changed(p.slug);
    END LOOP;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: a change of area % could not be followed: %', OLD.id_area, SQLERRM;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_area_change() IS 'Trigger: an area that a publication filters by changes or goes.';

-- Notes what is published now and meets a further condition on the row s.
CREATE FUNCTION gn_harvest.note_departures(p gn_harvest.publication, condition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('INSERT INTO gn_harvest.departure (slug, id_synthese, uuid, left_at)
                    SELECT %L, s.id_synthese, s.unique_id_sinp, localtimestamp
                    FROM gn_synthese.synthese s WHERE (%s) AND (%s)
                    ON CONFLICT (slug, id_synthese) DO UPDATE SET uuid = excluded.uuid, left_at = excluded.left_at',
                   p.slug, coalesce(gn_harvest.publication_filter(p, 's'), 'true'), condition);
END
$$;
COMMENT ON FUNCTION gn_harvest.note_departures(gn_harvest.publication, text) IS 'Notes observations of a publication that may leave it, all at once.';

-- Datasets that came into or went out of a publication by their framework or actors.
CREATE FUNCTION gn_harvest.settle_datasets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p    gn_harvest.publication;
    gone integer[];
    come integer[];
BEGIN
    FOR p IN SELECT o.* FROM gn_harvest.publication o WHERE num_nonnulls(o.datasets, o.frameworks, o.organisms) > 0 ORDER BY o.slug LOOP
        SELECT array_agg(was.id) FILTER (WHERE now.id IS NULL), array_agg(now.id) FILTER (WHERE was.id IS NULL)
        INTO gone, come
        FROM (SELECT c.id FROM gn_harvest.publication_scope c WHERE c.slug = p.slug AND c.edition = p.edition AND c.kind = 'dataset') was
        FULL JOIN gn_harvest.publication_datasets(p) now(id) ON now.id = was.id;
        IF gone IS NOT NULL THEN
            PERFORM gn_harvest.note_departures(p, format('s.id_dataset = ANY (%L::integer[])', gone));
            DELETE FROM gn_harvest.publication_scope c
            WHERE c.slug = p.slug AND c.edition = p.edition AND c.kind = 'dataset' AND c.id = ANY (gone);
        END IF;
        IF come IS NOT NULL THEN
            INSERT INTO gn_harvest.publication_scope SELECT p.slug, p.edition, 'dataset', d FROM unnest(come) d ON CONFLICT DO NOTHING;
            IF EXISTS (SELECT FROM gn_synthese.synthese s WHERE s.id_dataset = ANY (come)) THEN
                PERFORM gn_harvest.selection_changed(p.slug);
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: datasets of publications could not be followed: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.settle_datasets() IS 'Trigger: datasets come into and go out of publications by their framework and actors.';

-- Dates the frameworks that a change of metadata concerns. Arguments: what the row belongs to, and the column that says
-- which. By JSON: a table that has lost the column says nothing, and fails nothing.
CREATE FUNCTION gn_harvest.note_metadata_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids integer[] := array_remove(ARRAY[(to_jsonb(OLD) ->> TG_ARGV[1])::integer, (to_jsonb(NEW) ->> TG_ARGV[1])::integer], NULL);
BEGIN
    INSERT INTO gn_harvest.metadata_change
    SELECT DISTINCT c.id, localtimestamp
    FROM (SELECT d.id_acquisition_framework AS id FROM gn_meta.t_datasets d
          WHERE TG_ARGV[0] = 'dataset' AND d.id_dataset = ANY (ids)
          UNION ALL
          SELECT unnest(ids) WHERE TG_ARGV[0] = 'framework'
          UNION ALL
          SELECT f.id_acquisition_framework FROM gn_meta.t_acquisition_frameworks f
          WHERE TG_TABLE_NAME = 't_acquisition_frameworks' AND f.acquisition_framework_parent_id = ANY (ids)
            AND to_jsonb(OLD) -> 'unique_acquisition_framework_id' IS DISTINCT FROM to_jsonb(NEW) -> 'unique_acquisition_framework_id'
          UNION ALL
          SELECT d.id_acquisition_framework FROM gn_meta.cor_dataset_protocol l JOIN gn_meta.t_datasets d ON d.id_dataset = l.id_dataset
          WHERE TG_ARGV[0] = 'protocol' AND l.id_protocol = ANY (ids)
          UNION ALL
          SELECT l.id_acquisition_framework FROM gn_meta.cor_acquisition_framework_publication l
          WHERE TG_ARGV[0] = 'publication' AND l.id_publication = ANY (ids)
          UNION ALL
          SELECT a.id_acquisition_framework FROM gn_meta.cor_acquisition_framework_actor a
          WHERE TG_ARGV[0] = 'organism' AND a.id_organism = ANY (ids) OR TG_ARGV[0] = 'role' AND a.id_role = ANY (ids)
          UNION ALL
          SELECT d.id_acquisition_framework FROM gn_meta.cor_dataset_actor a JOIN gn_meta.t_datasets d ON d.id_dataset = a.id_dataset
          WHERE TG_ARGV[0] = 'organism' AND a.id_organism = ANY (ids) OR TG_ARGV[0] = 'role' AND a.id_role = ANY (ids)) c
    WHERE c.id IS NOT NULL
    ORDER BY c.id
    ON CONFLICT (id_acquisition_framework) DO UPDATE SET changed_at = excluded.changed_at;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: a change of metadata could not be dated: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_metadata_change() IS 'Trigger: dates the frameworks that a change of metadata concerns.';

-- What is watched whatever is published: table, what a row of it belongs to, and by which column.
CREATE FUNCTION gn_harvest.watched_tables() RETURNS TABLE (watched text, what text, by_column text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('gn_meta.t_acquisition_frameworks', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_actor', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_objectif', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_publication', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_territory', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_voletsinp', 'framework', 'id_acquisition_framework'),
           ('gn_meta.t_bibliographical_references', 'framework', 'id_acquisition_framework'),
           ('gn_meta.t_datasets', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_dataset_actor', 'dataset', 'id_dataset'),
           ('gn_meta.cor_dataset_protocol', 'dataset', 'id_dataset'),
           ('gn_meta.cor_dataset_territory', 'dataset', 'id_dataset'),
           ('gn_meta.sinp_datatype_protocols', 'protocol', 'id_protocol'),
           ('gn_meta.sinp_datatype_publications', 'publication', 'id_publication'),
           ('utilisateurs.bib_organismes', 'organism', 'id_organisme'),
           ('utilisateurs.t_roles', 'role', 'id_role')
$$;
COMMENT ON FUNCTION gn_harvest.watched_tables() IS 'Tables of which every change dates a framework.';

CREATE FUNCTION gn_harvest.metadata_watch_sql() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(s.statement ORDER BY s.statement)
    FROM (SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_metadata_update AFTER UPDATE ON %s
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gn_harvest.note_metadata_change(%L, %L)', w.watched, w.what, w.by_column)
          FROM gn_harvest.watched_tables() w
          UNION ALL
          SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_metadata AFTER INSERT OR DELETE ON %s
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.note_metadata_change(%L, %L)', w.watched, w.what, w.by_column)
          FROM gn_harvest.watched_tables() w WHERE w.watched NOT LIKE 'utilisateurs.%'
          UNION ALL
          SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_settle AFTER INSERT OR UPDATE OR DELETE ON %s
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.settle_datasets()', w)
          FROM unnest(ARRAY['gn_meta.t_datasets', 'gn_meta.cor_dataset_actor']) w
          UNION ALL
          SELECT 'CREATE OR REPLACE TRIGGER zz_gn_harvest_area BEFORE UPDATE OF geom, geom_4326, enable OR DELETE ON ref_geo.l_areas
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.note_area_change()'
          UNION ALL
          SELECT 'CREATE OR REPLACE TRIGGER zz_gn_harvest_truncate BEFORE TRUNCATE ON gn_synthese.synthese
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.note_truncation()') s(statement)
$$;
COMMENT ON FUNCTION gn_harvest.metadata_watch_sql() IS 'The statements by which changes of metadata are dated and followed.';

CREATE FUNCTION gn_harvest.metadata_unwatch_sql() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass))
    FROM pg_trigger t
    WHERE NOT t.tgisinternal
      AND t.tgfoid = ANY (ARRAY['gn_harvest.note_metadata_change', 'gn_harvest.settle_datasets', 'gn_harvest.note_area_change',
                                'gn_harvest.note_truncation']::regproc[])
$$;
COMMENT ON FUNCTION gn_harvest.metadata_unwatch_sql() IS 'The statements that remove the triggers on metadata.';
