-- Takes over an installation of GN2PG (layouts of versions 1.9 and 1.10): what its tables tell of its sources, which
-- rows of gn_synthese.synthese its triggers wrote, and from where a harvest goes on.
-- What is read is read with the caller's rights, so these functions are SECURITY INVOKER; what is written goes through
-- add_source and the SECURITY DEFINER functions at the end, which check the caller.

-- Plain tables with columns of plain types only: reading another's view or domain would run its owner's code.
CREATE FUNCTION gn_harvest.check_gn2pg(import_schema text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF import_schema IS NULL THEN
        RAISE EXCEPTION 'adopt_gn2pg needs the schema into which GN2PG imports' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'It is db_schema_import in GN2PG''s settings: SELECT * FROM gn_harvest.adopt_gn2pg(''gn2pg_import'');';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = import_schema) THEN
        SELECT string_agg(quote_literal(n.nspname), ', ' ORDER BY n.nspname) INTO wrong
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'data_json';
        RAISE EXCEPTION 'schema "%" does not exist', import_schema USING ERRCODE = 'invalid_schema_name',
            HINT = coalesce('Schemas that have a table data_json: ' || wrong || '.',
                            'No schema of this database has a table data_json: GN2PG imports into another database.');
    END IF;
    IF (SELECT count(*) < 2 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'gn_synthese' AND c.relname IN ('synthese', 't_sources')) THEN
        RAISE EXCEPTION 'this database is not a GeoNature database' USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It has no gn_synthese.synthese or no gn_synthese.t_sources.',
            HINT = 'Call it in the database into which GN2PG writes the observations.';
    END IF;
    SELECT string_agg(format('%I.%I.%I', n.schema_name, n.table_name, n.column_name), ', ' ORDER BY n.schema_name, n.table_name, n.column_name)
    INTO wrong
    FROM gn_harvest.gn2pg_layout(import_schema) n
    WHERE NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE s.nspname = n.schema_name AND c.relname = n.table_name AND c.relkind IN ('r', 'p')
          AND a.attname = n.column_name AND NOT a.attisdropped AND a.atttypid = ANY (n.types));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'schema "%" has not the layout of GN2PG 1.9 or 1.10', import_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Missing, not of the type that GN2PG gives, or not of a table: %s.', wrong),
                  HINT = 'Bring an older GN2PG up to date first: install gn2pg-client 1.9 or 1.10 and run its db --json-tables-create.';
    END IF;
    SELECT string_agg(DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I; GRANT SELECT ON %I.%I TO %I;',
                                      n.schema_name, current_user, n.schema_name, n.table_name, current_user), ' ')
    INTO wrong
    FROM gn_harvest.gn2pg_layout(import_schema) n
    WHERE NOT has_schema_privilege(n.schema_name, 'USAGE')
       OR NOT has_table_privilege(format('%I.%I', n.schema_name, n.table_name), 'SELECT');
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'role "%" may not read what GN2PG imported and wrote', current_user
            USING ERRCODE = 'insufficient_privilege', HINT = wrong;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_gn2pg(text) IS 'Refuses a schema that has not GN2PG''s layout, or that the caller may not read.';

CREATE FUNCTION gn_harvest.gn2pg_layout(import_schema text)
RETURNS TABLE (schema_name text, table_name text, column_name text, types oid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(l.schema_name, import_schema), l.table_name, c.column_name, l.types::regtype[]::oid[]
    FROM (VALUES (NULL, 'data_json', 'source controler type', '{varchar,text}'),
                 (NULL, 'data_json', 'id_data import_id', '{int4,int8}'),
                 (NULL, 'data_json', 'uuid', '{uuid}'),
                 (NULL, 'data_json', 'item', '{jsonb}'),
                 (NULL, 'data_json', 'update_ts', '{timestamp}'),
                 (NULL, 'metadata_json', 'source type', '{varchar,text}'),
                 (NULL, 'import_log', 'source controler xfer_type xfer_status comment', '{varchar,text}'),
                 (NULL, 'import_log', 'id api_count_errors data_count_errors', '{int4,int8}'),
                 (NULL, 'import_log', 'xfer_start_ts', '{timestamp}'),
                 (NULL, 'import_log', 'xfer_filters', '{jsonb}'),
                 ('gn_synthese', 'synthese', 'id_synthese id_source', '{int4,int8}'),
                 ('gn_synthese', 'synthese', 'unique_id_sinp', '{uuid}'),
                 ('gn_synthese', 'synthese', 'entity_source_pk_value', '{varchar,text}'),
                 ('gn_synthese', 't_sources', 'id_source', '{int4,int8}'),
                 ('gn_synthese', 't_sources', 'name_source', '{varchar,text}'))
         l(schema_name, table_name, column_names, types),
         unnest(string_to_array(l.column_names, ' ')) c(column_name)
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_layout(text) IS 'The tables and columns of GN2PG and GeoNature that an adoption reads.';

-- GN2PG keeps them as an array that holds the text of a JSON object.
CREATE FUNCTION gn_harvest.gn2pg_parameters(xfer_filters jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parameters jsonb := CASE jsonb_typeof(xfer_filters) WHEN 'array' THEN xfer_filters -> 0 ELSE xfer_filters END;
BEGIN
    IF jsonb_typeof(parameters) = 'string' THEN
        parameters := (parameters #>> '{}')::jsonb;
    END IF;
    RETURN CASE jsonb_typeof(parameters) WHEN 'object' THEN parameters ELSE '{}' END;
EXCEPTION WHEN data_exception THEN
    RETURN '{}';
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_parameters(jsonb) IS 'The parameters of a download as GN2PG''s import_log keeps them; an empty object when they are not to be understood.';

CREATE FUNCTION gn_harvest.gn2pg_filters(parameters jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(f.key, f.value), '{}')
    FROM jsonb_each(parameters) f
    WHERE jsonb_typeof(f.value) IN ('string', 'number', 'boolean')
      AND NOT lower(f.key) IN ('limit', 'offset', 'orderby', 'token', 'action', 'filter_d_up_derniere_action', 'filter_d_lo_derniere_action')
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_filters(jsonb) IS 'Of the parameters of a download, those that say which records are wanted. A token is none of them.';

CREATE FUNCTION gn_harvest.gn2pg_names(import_schema text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[];
BEGIN
    EXECUTE format($query$
        SELECT coalesce(array_agg(n.source ORDER BY n.source), '{}')
        FROM (SELECT source::text FROM %1$I.data_json UNION SELECT source::text FROM %1$I.metadata_json
              UNION SELECT source::text FROM %1$I.import_log) n$query$, import_schema) INTO names;
    RETURN names;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_names(text) IS 'Names of GN2PG''s sources, as its tables have them.';

CREATE FUNCTION gn_harvest.gn2pg_sources(import_schema text, wanted text)
RETURNS TABLE (name text, id_source integer, data_type text, downloaded bigint, began timestamp, last_import timestamp, filters jsonb,
               seen_url text, seen_export text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH data AS (
            SELECT d.source::text AS name, d.type::text AS type, min(d.update_ts) AS began, max(d.update_ts) AS ended
            FROM %1$I.data_json d WHERE d.controler = 'data' GROUP BY 1, 2),
        kinds AS (
            SELECT name, type, began, ended FROM data
            UNION ALL
            SELECT DISTINCT m.source::text, m.type::text, NULL::timestamp, NULL::timestamp FROM %1$I.metadata_json m
            UNION ALL
            SELECT l.source::text, NULL, min(l.xfer_start_ts), NULL::timestamp FROM %1$I.import_log l GROUP BY 1)
        SELECT k.name, min(t.id_source)::integer, (array_agg(k.type ORDER BY k.ended DESC NULLS LAST, k.type))[1],
               (SELECT count(DISTINCT d.id_data) FROM %1$I.data_json d WHERE d.source = k.name AND d.controler = 'data'),
               min(k.began), min(l.xfer_start_ts), gn_harvest.gn2pg_filters(gn_harvest.gn2pg_parameters((array_agg(l.xfer_filters))[1])),
               min(s.url), min(s.export)
        FROM kinds k
        LEFT JOIN gn_synthese.t_sources t ON t.name_source = k.name
        LEFT JOIN LATERAL (
            SELECT l.xfer_start_ts, l.xfer_filters FROM %1$I.import_log l
            WHERE l.source = k.name AND l.controler = 'data' AND l.xfer_status = 'success' ORDER BY l.id DESC LIMIT 1) l ON true
        LEFT JOIN LATERAL (
            SELECT a.found[1] AS url, a.found[2] AS export
            FROM %1$I.import_log l, regexp_match(l.comment, 'url: (https?://[^\s?@]+)/api/[^/\s?]+/api/(\d{1,9})(?:\?|\s|$)') a(found)
            WHERE l.source = k.name AND a.found IS NOT NULL ORDER BY l.id DESC LIMIT 1) s ON true
        WHERE $1 IS NULL OR k.name = $1
        GROUP BY k.name
        ORDER BY k.name$query$, import_schema) USING wanted;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_sources(text, text) IS 'What GN2PG''s tables tell of its sources. The address is seen only in the message of a download that failed.';

-- The records of a range of keys that are in the target, by UUID, else by key unless that row is another record's.
CREATE FUNCTION gn_harvest.gn2pg_page(import_schema text, gn2pg_source text, id_source integer, after bigint, size integer)
RETURNS TABLE (upto bigint, keys bigint[], uuids uuid[], ids bigint[], taxa integer[], datasets integer[], elsewhere bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH page AS MATERIALIZED (
            SELECT d.id_data, d.uuid FROM %1$I.data_json d
            WHERE d.source = $1 AND d.controler = 'data' AND d.id_data > $3
              AND d.id_data <= (SELECT max(p.id_data) FROM (
                      SELECT e.id_data FROM %1$I.data_json e
                      WHERE e.source = $1 AND e.controler = 'data' AND e.id_data > $3 ORDER BY e.id_data LIMIT $4) p)),
        with_uuid AS MATERIALIZED (
            SELECT p.id_data, s.id_synthese, s.unique_id_sinp, s.cd_nom, s.id_dataset, coalesce(s.id_source = $2, false) AS is_own
            FROM page p JOIN gn_synthese.synthese s ON s.unique_id_sinp = p.uuid),
        by_uuid AS (SELECT id_data, id_synthese, unique_id_sinp, cd_nom, id_dataset FROM with_uuid WHERE is_own),
        by_key AS (
            SELECT p.id_data, s.id_synthese, s.unique_id_sinp, s.cd_nom, s.id_dataset
            FROM (SELECT id_data FROM page EXCEPT SELECT id_data FROM by_uuid) p
            JOIN gn_synthese.synthese s ON s.entity_source_pk_value = p.id_data::text
            WHERE s.id_source = $2
              AND NOT EXISTS (SELECT FROM %1$I.data_json o WHERE o.uuid = s.unique_id_sinp AND o.source = $1 AND o.controler = 'data')),
        matched AS (
            SELECT DISTINCT ON (m.id_data) m.id_data::bigint AS id_data, m.unique_id_sinp, m.id_synthese::bigint AS id_synthese, m.cd_nom, m.id_dataset
            FROM (TABLE by_uuid UNION ALL TABLE by_key) m ORDER BY m.id_data, m.id_synthese DESC)
        SELECT (SELECT max(id_data)::bigint FROM page),
               coalesce(array_agg(id_data), '{}'), coalesce(array_agg(unique_id_sinp), '{}'), coalesce(array_agg(id_synthese), '{}'),
               coalesce(array_agg(cd_nom), '{}'), coalesce(array_agg(id_dataset), '{}'),
               (SELECT count(*) FROM with_uuid WHERE NOT is_own AND NOT id_data IN (SELECT id_data FROM matched))
        FROM matched$query$, import_schema)
    USING gn2pg_source, id_source, after, size;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_page(text, text, integer, bigint, integer) IS 'Records of GN2PG that are in gn_synthese.synthese, with their rows; the next ones after a key.';

-- GN2PG asks for what changed since its last success began, by its own clock, and forgets what failed. So: downloads
-- without error, from a full one on, each asking from before the one before began; of what these brought the greatest
-- date, but not past a day before the last of them began (neither the two clocks nor their zones need agree).
CREATE FUNCTION gn_harvest.gn2pg_watermark(import_schema text, gn2pg_source text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last_good   bigint;
    latest_safe text;
    greatest    text;
BEGIN
    EXECUTE format($query$
        WITH clean AS (
            SELECT l.id, l.xfer_type = 'full' AS whole, l.xfer_start_ts,
                   replace(gn_harvest.gn2pg_parameters(l.xfer_filters) ->> 'filter_d_up_derniere_action', 'T', ' ') AS since
            FROM %1$I.import_log l
            WHERE l.source = $1 AND l.controler = 'data' AND l.xfer_status = 'success'
              AND l.api_count_errors = 0 AND l.data_count_errors = 0),
        chain AS (
            SELECT c.id, c.xfer_start_ts, c.whole, c.since,
                   to_char(lag(c.xfer_start_ts) OVER (ORDER BY c.id), 'YYYY-MM-DD HH24:MI:SS.US') AS before
            FROM clean c WHERE c.id >= (SELECT max(id) FROM clean WHERE whole)),
        broken AS (SELECT min(id) AS id FROM chain WHERE NOT whole AND (since IS NULL OR since COLLATE "C" > before))
        SELECT c.id, to_char(c.xfer_start_ts - interval '1 day', 'YYYY-MM-DD HH24:MI:SS.US')
        FROM chain c, broken b WHERE b.id IS NULL OR c.id < b.id ORDER BY c.id DESC LIMIT 1$query$, import_schema)
    INTO last_good, latest_safe USING gn2pg_source;
    IF last_good IS NULL THEN
        RETURN NULL;
    END IF;
    -- A date with a zone, or none at all, is no date that the source can be asked from.
    EXECUTE format($query$
        SELECT d.item ->> 'derniere_action'
        FROM %1$I.data_json d
        WHERE d.source = $1 AND d.controler = 'data' AND d.import_id <= $2 AND d.item ->> 'derniere_action' IS NOT NULL
        ORDER BY d.item ->> 'derniere_action' !~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?$' DESC,
                 replace(d.item ->> 'derniere_action', 'T', ' ') COLLATE "C" DESC
        LIMIT 1$query$, import_schema)
    INTO greatest USING gn2pg_source, last_good;
    IF greatest !~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?$' THEN
        RETURN NULL;
    END IF;
    PERFORM greatest::timestamp;
    IF replace(greatest, 'T', ' ') COLLATE "C" > latest_safe THEN
        RETURN CASE WHEN greatest LIKE '%T%' THEN replace(latest_safe, ' ', 'T') ELSE latest_safe END;
    END IF;
    RETURN greatest;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_watermark(text, text) IS 'Up to which date of change GN2PG has surely downloaded a source, as the source writes it; null when in doubt.';

CREATE FUNCTION gn_harvest.take_gn2pg(import_schema text, gn2pg_source text, id_source integer, adopted_as text, OUT held bigint, OUT elsewhere bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    page record;
    after bigint := -9223372036854775808;
BEGIN
    held := 0;
    elsewhere := 0;
    LOOP
        SELECT * INTO page FROM gn_harvest.gn2pg_page(import_schema, gn2pg_source, id_source, after, 50000);
        EXIT WHEN page.upto IS NULL;
        held := held + cardinality(page.ids);
        elsewhere := elsewhere + page.elsewhere;
        IF adopted_as IS NOT NULL AND cardinality(page.ids) > 0 THEN
            PERFORM gn_harvest.take_gn2pg_rows(adopted_as, page.keys, page.uuids, page.ids, page.taxa, page.datasets);
        END IF;
        after := page.upto;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.take_gn2pg(text, text, integer, text) IS 'Counts the records of GN2PG that are in the target and, for a source, makes them its lineage.';

CREATE FUNCTION gn_harvest.gn2pg_next_step(import_schema text, gn2pg_source text, state text, adopted_as text, url text, export_id text,
                                           data_type text, missing text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ',
        CASE WHEN data_type = 'metadata_only' AND state <> 'adopted'
             THEN '-- metadata only: give its export as metadata_export_id to the source of the observations, or:' || chr(10) END,
        CASE WHEN state = 'incomplete' OR state = 'ready' AND adopted_as IS NULL THEN
            format('SELECT * FROM gn_harvest.adopt_gn2pg(%L, %L, url => %L, export_id => %s%s%s, token => %L);', import_schema, gn2pg_source,
                   coalesce(url, 'https://…'), coalesce(export_id, '…'),
                   CASE WHEN 'metadata_export_id' = ANY (missing) THEN ', metadata_export_id => …' END,
                   CASE WHEN gn2pg_source !~ '^\S(.{0,61}\S)?$' THEN ', name => ''…''' END, '…')
             WHEN state = 'ready' THEN
            format('SELECT * FROM gn_harvest.adopt_gn2pg(%L, %L);', import_schema, gn2pg_source) END,
        CASE WHEN state = 'adopted' AND 'credentials' = ANY (missing) THEN
            format('SELECT gn_harvest.set_credentials(%L, token => %L); -- or login => …, password => …; none for a public export' || chr(10), adopted_as, '…') END,
        CASE WHEN state = 'adopted' AND 'metadata_export_id' = ANY (missing) THEN
            format('SELECT gn_harvest.alter_source(%L, metadata_export_id => …);' || chr(10), adopted_as) END,
        CASE WHEN state = 'adopted' THEN
            format('SELECT * FROM gn_harvest.check_source(%1$L); SELECT * FROM gn_harvest.run(%1$L);', adopted_as) END)
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_next_step(text, text, text, text, text, text, text, text[]) IS 'The call to make next for a source of GN2PG.';

-- A dry run checks the same things, and takes the source back.
CREATE FUNCTION gn_harvest.connect_gn2pg(name text, url text, export_id integer, metadata_export_id integer, filters jsonb,
                                         login text, password text, token text, owner name, dry_run boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.add_source(name, url, export_id, login => login, password => password, token => token,
                                  metadata_export_id => metadata_export_id, filters => filters, owner => owner);
    IF dry_run THEN
        RAISE EXCEPTION 'dry run' USING ERRCODE = 'GN000';
    END IF;
EXCEPTION WHEN SQLSTATE 'GN000' THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION gn_harvest.connect_gn2pg IS 'Adds the source that takes over one of GN2PG, or only tries to.';

CREATE FUNCTION gn_harvest.adopt_gn2pg(
    import_schema      text,
    source             text    DEFAULT NULL,
    url                text    DEFAULT NULL,
    export_id          integer DEFAULT NULL,
    name               text    DEFAULT NULL,
    metadata_export_id integer DEFAULT NULL,
    login              text    DEFAULT NULL,
    password           text    DEFAULT NULL,
    token              text    DEFAULT NULL,
    owner              name    DEFAULT NULL,
    dry_run            boolean DEFAULT false
) RETURNS TABLE (gn2pg_source text, state text, adopted_as text, partner_url text, partner_export text, data_type text, filters jsonb,
                 downloaded bigint, held bigint, to_come bigint, elsewhere bigint, unexplained bigint, last_import timestamp, watermark text,
                 missing text[], next_step text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    names text[];
    each_source record;
    known record;
    does  boolean;
BEGIN
    IF num_nonnulls(login, password, token) > 0 THEN
        PERFORM gn_harvest.hide_statement('adopt_gn2pg');
    END IF;
    PERFORM gn_harvest.check_gn2pg(import_schema);
    names := gn_harvest.gn2pg_names(import_schema);
    IF source IS NULL AND num_nonnulls(url, export_id, name, metadata_export_id, login, password, token, owner) > 0 THEN
        IF cardinality(names) <> 1 THEN
            RAISE EXCEPTION 'the source to adopt is not named' USING ERRCODE = 'null_value_not_allowed',
                HINT = format('GN2PG has these: %s. SELECT * FROM gn_harvest.adopt_gn2pg(%L, source => ''...'', ...);', names, import_schema);
        END IF;
        source := names[1];
    END IF;
    IF source IS NOT NULL AND NOT source = ANY (names) THEN
        RAISE EXCEPTION 'GN2PG has no source "%" in schema "%"', source, import_schema USING ERRCODE = 'undefined_object',
            HINT = format('It has these: %s. It writes names in small letters without accents or spaces.', names);
    END IF;
    FOR each_source IN SELECT s.* FROM gn_harvest.gn2pg_sources(import_schema, source) s LOOP
        SELECT * INTO known FROM gn_harvest.gn2pg_known(each_source.id_source, coalesce(name, each_source.name));
        IF source IS NOT NULL THEN
            PERFORM gn_harvest.check_gn2pg_known(each_source.name, known.name, name, url, export_id);
        END IF;
        does := source IS NOT NULL AND NOT coalesce(dry_run, false) AND (known.name IS NOT NULL OR num_nonnulls(url, export_id) = 2);
        IF source IS NOT NULL AND known.name IS NULL AND num_nonnulls(url, export_id) = 2 THEN
            PERFORM gn_harvest.connect_gn2pg(coalesce(name, each_source.name), url, export_id, metadata_export_id, each_source.filters,
                                             login, password, token, owner, NOT does);
        ELSIF does AND num_nonnulls(login, password, token) > 0 THEN
            PERFORM gn_harvest.set_credentials(known.name, login, password, token);
        END IF;
        adopted_as := CASE WHEN does THEN coalesce(known.name, name, each_source.name) ELSE known.name END;
        watermark := gn_harvest.gn2pg_watermark(import_schema, each_source.name);
        IF does THEN
            PERFORM gn_harvest.begin_gn2pg(adopted_as, each_source.id_source);
        END IF;
        SELECT t.held, t.elsewhere INTO held, elsewhere
        FROM gn_harvest.take_gn2pg(import_schema, each_source.name, each_source.id_source, CASE WHEN does THEN adopted_as END) t;
        IF does THEN
            PERFORM gn_harvest.end_gn2pg(adopted_as, watermark, to_char(each_source.began - interval '1 day', 'YYYY-MM-DD HH24:MI:SS'));
            SELECT * INTO known FROM gn_harvest.gn2pg_known(each_source.id_source, adopted_as);
        END IF;
        gn2pg_source := each_source.name;
        partner_url := coalesce(known.url, url, each_source.seen_url);
        partner_export := coalesce(known.export_id::text, export_id::text, each_source.seen_export);
        state := CASE WHEN does OR known.adopted THEN 'adopted'
                      WHEN known.name IS NOT NULL OR source IS NOT NULL AND num_nonnulls(url, export_id) = 2 THEN 'ready'
                      ELSE 'incomplete' END;
        data_type := each_source.data_type;
        filters := each_source.filters;
        downloaded := each_source.downloaded;
        to_come := downloaded - held - elsewhere;
        SELECT count(*) - held INTO unexplained FROM gn_synthese.synthese o WHERE o.id_source = each_source.id_source;
        last_import := each_source.last_import;
        missing := array_remove(ARRAY[
            CASE WHEN state = 'incomplete' AND (source IS NULL OR url IS NULL) THEN 'url' END,
            CASE WHEN state = 'incomplete' AND (source IS NULL OR export_id IS NULL) THEN 'export_id' END,
            CASE WHEN data_type = 'synthese_with_metadata_separated' AND coalesce(known.metadata_export_id, metadata_export_id) IS NULL
                 THEN 'metadata_export_id' END,
            CASE WHEN NOT coalesce(known.has_credentials, false) AND num_nonnulls(login, token) = 0 THEN 'credentials' END], NULL);
        next_step := gn_harvest.gn2pg_next_step(import_schema, gn2pg_source, state, adopted_as, partner_url, partner_export, data_type, missing);
        RETURN NEXT;
        IF does THEN
            RAISE NOTICE 'GN2PG stays as it is: stop its scheduled downloads of "%" before the first run', gn2pg_source
                USING DETAIL = format('The triggers on %I.data_json write and delete observations whenever GN2PG downloads, and when rows are deleted there.', import_schema),
                      HINT = format('When all its sources are adopted, DROP SCHEMA %I CASCADE; removes it; DELETE FROM %I.data_json would delete the observations.', import_schema, import_schema);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.adopt_gn2pg IS 'Takes over what GN2PG (1.9, 1.10) has harvested into a schema of this database. Without source: lists its sources, what they hold and the call to make. With one, its url and its export_id: connects it and makes the observations that GN2PG wrote its lineage, so that the first run, a full one, updates them instead of adding them again. dry_run writes nothing. GN2PG''s own tables and triggers are left as they are.';

-- Which source of ours has the observations of one of GN2PG, or its name. What it reads is told to those who manage it.
CREATE FUNCTION gn_harvest.gn2pg_known(id_source integer, wanted_name text)
RETURNS TABLE (name text, url text, export_id integer, metadata_export_id integer, has_credentials boolean, adopted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name, m.url, m.export_id, m.metadata_export_id,
           EXISTS (SELECT FROM gn_harvest.credential c WHERE c.source_id = s.id),
           coalesce(st.id_source = gn2pg_known.id_source, false)
    FROM gn_harvest.source s
    JOIN gn_harvest.source_state st ON st.source_id = s.id
    LEFT JOIN gn_harvest.source m ON m.id = s.id AND gn_harvest.may_manage(gn_harvest.caller(), s.owner)
    WHERE st.id_source = gn2pg_known.id_source OR s.name = wanted_name
    ORDER BY st.id_source = gn2pg_known.id_source DESC NULLS LAST
    LIMIT 1
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_known(integer, text) IS 'The source that has a row of gn_synthese.t_sources, or else a name.';

CREATE FUNCTION gn_harvest.check_gn2pg_known(gn2pg_source text, known_name text, name text, url text, export_id integer) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known gn_harvest.source;
BEGIN
    IF known_name IS NULL THEN
        RETURN;
    END IF;
    known := gn_harvest.managed_source(known_name);
    IF name <> known.name THEN
        RAISE EXCEPTION 'the observations of GN2PG''s source "%" are those of source "%" already', gn2pg_source, known.name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('SELECT gn_harvest.alter_source(%L, new_name => %L); gives it that name.', known.name, name);
    END IF;
    IF gn_harvest.normalise_url(url) <> known.url OR export_id <> known.export_id THEN
        RAISE EXCEPTION 'source "%" exists already and reads another export', known.name
            USING ERRCODE = 'duplicate_object', DETAIL = format('It reads export %s of %s.', known.export_id, known.url),
                  HINT = 'Leave url and export_id out to adopt for that source, change it with gn_harvest.alter_source(...), or adopt under another name with name => ''...''.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_gn2pg_known(text, text, text, text, integer) IS 'Refuses to adopt for a source that exists and is another, or another''s.';

CREATE FUNCTION gn_harvest.begin_gn2pg(name text, id_source integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
    state    gn_harvest.source_state;
    former   integer;
BEGIN
    PERFORM FROM gn_harvest.source s WHERE s.id = adopting.id FOR UPDATE;
    IF gn_harvest.is_working(adopting.id) THEN
        RAISE EXCEPTION 'source "%" is being harvested', adopting.name USING ERRCODE = 'object_in_use',
            HINT = format('SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress WHERE source = %L;', adopting.name);
    END IF;
    SELECT * INTO state FROM gn_harvest.source_state st WHERE st.source_id = adopting.id FOR UPDATE;
    IF state.id_source <> begin_gn2pg.id_source OR coalesce(adopting.key_column, 'id_synthese') <> 'id_synthese'
       OR to_jsonb(adopting) ->> 'target' <> 'synthese' THEN
        RAISE EXCEPTION 'source "%" can not adopt what GN2PG wrote', adopting.name USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It writes elsewhere, or knows records by another key than id_synthese.',
            HINT = 'Adopt under another name with name => ''...'', url => ''...'', export_id => ....';
    END IF;
    UPDATE gn_harvest.source_state st SET id_source = begin_gn2pg.id_source
    WHERE st.source_id = adopting.id AND st.id_source IS NULL;
    -- A source that had these observations and was dropped: its lineage knows more of them.
    FOR former IN SELECT f.source_id FROM gn_harvest.former_source f WHERE f.id_source = begin_gn2pg.id_source ORDER BY f.dropped_at DESC LOOP
        UPDATE gn_harvest.harvested h SET source_id = adopting.id
        WHERE h.source_id = former
          AND NOT EXISTS (SELECT FROM gn_harvest.harvested m WHERE m.source_id = adopting.id AND m.key_number = h.key_number)
          AND NOT EXISTS (SELECT FROM gn_harvest.harvested m WHERE m.source_id = adopting.id AND m.key_number IS NULL AND m.source_key = h.source_key);
        DELETE FROM gn_harvest.harvested h WHERE h.source_id = former;
        DELETE FROM gn_harvest.former_source f WHERE f.source_id = former;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.begin_gn2pg(text, integer) IS 'Gives a source the row of gn_synthese.t_sources that GN2PG made.';

-- Without hashes: the first run compares. first_run 0: no run of ours wrote them.
CREATE FUNCTION gn_harvest.take_gn2pg_rows(name text, keys bigint[], uuids uuid[], ids bigint[], taxa integer[], datasets integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    INSERT INTO gn_harvest.harvested AS h (source_id, key_number, source_key, uuid, id_synthese, first_run, last_run, cd_nom, id_dataset)
    SELECT DISTINCT ON (n.id) adopting.id, n.key, n.key::text, n.uuid, n.id, 0, 0, n.cd_nom, n.id_dataset
    FROM unnest(keys, uuids, ids, taxa, datasets) n(key, uuid, id, cd_nom, id_dataset)
    -- A row that has its record already keeps it: the record may have another key by now. Found by the row: without
    -- statistics the index on the source looks as good, and holds all of them.
    WHERE NOT EXISTS (SELECT FROM gn_harvest.harvested o WHERE o.id_synthese = n.id AND o.source_id + 0 = adopting.id)
    ORDER BY n.id, n.key
    ON CONFLICT (source_id, key_number) DO UPDATE
    SET uuid = EXCLUDED.uuid, id_synthese = EXCLUDED.id_synthese, attributes_hash = NULL, geometry_hash = NULL,
        deleted_run = NULL, deleted_at = NULL, cd_nom = EXCLUDED.cd_nom, id_dataset = EXCLUDED.id_dataset
    WHERE h.id_synthese IS NULL;
    IF FOUND THEN
        UPDATE gn_harvest.source_state st SET last_full_at = NULL WHERE st.source_id = adopting.id;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.take_gn2pg_rows(text, bigint[], uuid[], bigint[], integer[], integer[]) IS 'Makes rows that GN2PG wrote the lineage of a source, to be compared by its next run.';

CREATE FUNCTION gn_harvest.end_gn2pg(name text, watermark text, began text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    UPDATE gn_harvest.source_state st
    SET observations = (SELECT count(*) FROM gn_harvest.harvested h WHERE h.source_id = adopting.id AND h.id_synthese IS NOT NULL)
    WHERE st.source_id = adopting.id;
    -- The log of deletions is asked from the beginning: GN2PG misses some.
    UPDATE gn_harvest.source_state st
    SET watermark = coalesce(st.watermark, end_gn2pg.watermark),
        watermark_column = coalesce(st.watermark_column, CASE WHEN end_gn2pg.watermark IS NOT NULL THEN 'derniere_action' END),
        deletion_watermark = coalesce(began, st.deletion_watermark)
    WHERE st.source_id = adopting.id AND st.last_full_at IS NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.end_gn2pg(text, text, text) IS 'Says from where a source goes on after GN2PG.';
