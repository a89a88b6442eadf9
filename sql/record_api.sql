-- create_record_view: a view of a source's records, with a typed column for each of theirs.
-- Only functions of PostgreSQL are in it, so that whoever is granted the view can read it.

-- What the text of a value looks like when it can be cast to a type: a cast that this lets through never fails.
CREATE FUNCTION gn_harvest.record_pattern(type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE type
        WHEN 'boolean' THEN '^(true|false)$'
        WHEN 'integer' THEN '^-?[0-9]{1,9}$'
        WHEN 'bigint' THEN '^-?[0-9]{1,18}$'
        WHEN 'numeric' THEN '^-?[0-9]{1,255}([.][0-9]{1,255})?$'
        WHEN 'uuid' THEN '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
        ELSE '^(?!0000)([0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)'
             || '|[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
             || CASE type WHEN 'date' THEN '$'
                          ELSE '([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                               || CASE type WHEN 'timestamp without time zone' THEN ')?$'
                                            ELSE '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?))$' END END
        END
$$;
COMMENT ON FUNCTION gn_harvest.record_pattern(text) IS 'What a text that can be cast to a type of record_columns looks like, as a regular expression.';

-- A text stays one unless JSON has no type for what it says: codes such as "05" are no numbers. The cheap tests first:
-- this is asked of every value.
CREATE FUNCTION gn_harvest.record_type(kind text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN kind = 'string' AND value LIKE '____-__-__%' THEN
            CASE WHEN value ~ gn_harvest.record_pattern('date') THEN 'date'
                 WHEN value ~ gn_harvest.record_pattern('timestamp without time zone') THEN 'timestamp without time zone'
                 WHEN value ~ gn_harvest.record_pattern('timestamp with time zone') THEN 'timestamp with time zone'
                 ELSE 'text' END
        WHEN kind = 'string' AND value LIKE '________-____-____-____-____________' AND value ~ gn_harvest.record_pattern('uuid') THEN 'uuid'
        WHEN kind = 'number' THEN
            CASE WHEN value ~ gn_harvest.record_pattern('integer') THEN 'integer'
                 WHEN value ~ gn_harvest.record_pattern('bigint') THEN 'bigint'
                 WHEN value ~ gn_harvest.record_pattern('numeric') THEN 'numeric'
                 ELSE 'text' END
        WHEN kind = 'string' THEN 'text'
        WHEN kind IN ('object', 'array') THEN 'jsonb'
        ELSE kind END
$$;
COMMENT ON FUNCTION gn_harvest.record_type(text, text) IS 'The type of a value of an item, by its kind in JSON and its text; null stays null.';

-- An identifier has 63 bytes: what is longer is cut, and told apart by a hash of the whole.
CREATE FUNCTION gn_harvest.record_column_name(member text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    beginning text := member;
BEGIN
    IF octet_length(member) BETWEEN 1 AND 63 AND member NOT IN ('record_id', 'source_key', 'changed_at', 'geometry') THEN
        RETURN member;
    END IF;
    WHILE octet_length(beginning) > 54 LOOP
        beginning := left(beginning, -1);
    END LOOP;
    RETURN beginning || '_' || left(md5(member), 8);
END
$$;
COMMENT ON FUNCTION gn_harvest.record_column_name(text) IS 'The name of a column of create_record_view for a member of the items.';

CREATE FUNCTION gn_harvest.visible_records(source text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    found_id     integer;
    found_target text;
BEGIN
    SELECT k.id, k.target INTO found_id, found_target
    FROM (SELECT s.id, s.name, s.target, 1 AS rank, s.created_at AS since FROM gn_harvest.source s
          UNION ALL
          SELECT f.source_id, f.name, f.target, 2, f.dropped_at FROM gn_harvest.former_source f) k
    WHERE k.name = source AND k.id IN (SELECT gn_harvest.visible_record_source(gn_harvest.caller()))
    ORDER BY k.rank, k.since DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no source "%" of which role "%" may see the records', source, gn_harvest.caller()
            USING ERRCODE = 'undefined_object', HINT = 'SELECT DISTINCT source FROM gn_harvest.harvested_record; lists those that have some.';
    END IF;
    IF found_target <> 'records' THEN
        RAISE EXCEPTION 'the target of source "%" is %', source, found_target
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Its observations are in gn_synthese.synthese.',
                  HINT = 'Add a source with the same export and target => ''records'' to have them as they come.';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION gn_harvest.visible_records(text) IS 'Number of a source of which the caller may see the records, or an error.';

CREATE FUNCTION gn_harvest.record_columns(source text) RETURNS TABLE ("column" text, type text, member text, records bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    concerned integer := gn_harvest.visible_records(source);
BEGIN
    RETURN QUERY
        SELECT gn_harvest.record_column_name(m.key),
               CASE WHEN m.types = '{}' THEN 'text'
                    WHEN cardinality(m.types) = 1 THEN m.types[1]
                    WHEN m.types <@ '{integer,bigint}' THEN 'bigint'
                    WHEN m.types <@ '{integer,bigint,numeric}' THEN 'numeric'
                    WHEN m.types <@ '{date,timestamp without time zone}' THEN 'timestamp without time zone'
                    WHEN 'jsonb' = ANY (m.types) THEN 'jsonb'
                    ELSE 'text' END,
               m.key,
               m.filled::bigint
        FROM (SELECT t.key, coalesce(array_agg(t.type) FILTER (WHERE t.type <> 'null'), '{}') AS types,
                     coalesce(sum(t.times) FILTER (WHERE t.type <> 'null'), 0) AS filled
              FROM (SELECT v.key, gn_harvest.record_type(v.kind, v.value) AS type, count(*) AS times
                    FROM (SELECT e.key, jsonb_typeof(e.value) AS kind,
                                 CASE WHEN jsonb_typeof(e.value) IN ('string', 'number') THEN e.value #>> '{}' END AS value
                          FROM gn_harvest.record r, jsonb_each(r.item) e
                          WHERE r.source_id = concerned
                          OFFSET 0) v -- each text is made once
                    GROUP BY 1, 2) t
              GROUP BY t.key) m
        ORDER BY m.key;
END
$$;
COMMENT ON FUNCTION gn_harvest.record_columns(text) IS 'Columns of the records of a source: the name that they have in a view of create_record_view, the type that all their values have, the member of the items, in how many records it is filled. Reads all records.';

CREATE FUNCTION gn_harvest.record_view_query(source text, replaced oid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    concerned integer := gn_harvest.visible_records(source);
    members   integer;
    postgis   text := (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis');
    listed    text;
BEGIN
    -- In the order that the view has, what is new at its end: so it can be replaced. What no record has any more stays.
    WITH item AS (
        SELECT c."column" AS name, c.type, c.member FROM gn_harvest.record_columns(source) c),
    existing AS (
        SELECT a.attname::text AS name, a.attnum, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a WHERE a.attrelid = replaced AND a.attnum > 0 AND NOT a.attisdropped),
    wanted AS (
        SELECT 1 AS rank, 'record_id' AS name, 'r.record_id' AS expression
        UNION ALL SELECT 2, 'source_key', 'r.source_key'
        UNION ALL SELECT 3, 'changed_at', 'r.changed_at'
        UNION ALL SELECT 4, 'geometry', format('%1$s.ST_GeomFromWKB(r.wkb, 4326)::%1$s.geometry(Geometry, 4326)', postgis) WHERE postgis IS NOT NULL
        UNION ALL SELECT 5, i.name, gn_harvest.record_expression(i.member, i.type) FROM item i
        UNION ALL SELECT 6, e.name, gn_harvest.record_expression(e.name, e.type) FROM existing e
                  WHERE e.name NOT IN ('record_id', 'source_key', 'changed_at', 'geometry') AND e.name NOT IN (SELECT i.name FROM item i))
    SELECT (SELECT count(*) FROM item),
           string_agg(format('%s AS %I', w.expression, w.name), E',\n    ' ORDER BY e.attnum, w.rank, w.name)
    INTO members, listed
    FROM wanted w LEFT JOIN existing e USING (name);
    IF members = 0 THEN
        RAISE EXCEPTION 'source "%" has no record yet', source
            USING ERRCODE = 'no_data_found', DETAIL = 'The columns of the view are those of its records.',
                  HINT = format('SELECT * FROM gn_harvest.run(%L);', source);
    END IF;
    IF members > 1500 THEN
        RAISE EXCEPTION 'the records of source "%" have % columns, a view holds fewer', source, members
            USING ERRCODE = 'too_many_columns', HINT = 'Make a view of those that you need: SELECT item ->> ''...'' FROM gn_harvest.harvested_record.';
    END IF;
    RETURN format(E'SELECT\n    %s\nFROM gn_harvest.harvested_record r\nWHERE r.source_id = %s', listed, concerned);
END
$$;
COMMENT ON FUNCTION gn_harvest.record_view_query(text, oid) IS 'The query of a view of create_record_view; replaced: the view whose columns it has to keep.';

-- A value that does not fit the type is null: later ones may not be what those before were.
CREATE FUNCTION gn_harvest.record_expression(member text, type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN type = 'jsonb' THEN format('nullif(r.item -> %L, ''null''::pg_catalog.jsonb)', member)
                WHEN type IN ('boolean', 'integer', 'bigint', 'numeric', 'uuid', 'date', 'timestamp without time zone', 'timestamp with time zone')
                THEN format('CASE WHEN (r.item ->> %1$L) ~ %2$L THEN (r.item ->> %1$L)::%3$s END', member, gn_harvest.record_pattern(type), type)
                ELSE format('(r.item ->> %L)', member) END
$$;
COMMENT ON FUNCTION gn_harvest.record_expression(text, text) IS 'A member of r.item as a value of a type, in SQL.';

-- Checks what create_record_view is going to replace; null when there is nothing.
CREATE FUNCTION gn_harvest.replaceable_view(schema_name text, view_name text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    existing pg_class;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = schema_name) THEN
        RAISE EXCEPTION 'schema "%" does not exist', schema_name
            USING ERRCODE = 'invalid_schema_name', HINT = format('CREATE SCHEMA %I;', schema_name);
    END IF;
    IF schema_name = 'gn_harvest' THEN
        RAISE EXCEPTION 'schema "gn_harvest" is the extension''s own'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Name another schema, of yours.';
    END IF;
    IF NOT has_schema_privilege(schema_name, 'CREATE') THEN
        RAISE EXCEPTION 'role "%" may not create a view in schema "%"', current_user, schema_name
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', schema_name, current_user);
    END IF;
    SELECT c.* INTO existing FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = schema_name AND c.relname = view_name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF existing.relkind <> 'v' OR NOT EXISTS (
        SELECT FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        WHERE w.ev_class = existing.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = 'gn_harvest.harvested_record'::regclass) THEN
        RAISE EXCEPTION '%.% exists and is no view of harvested records', quote_ident(schema_name), quote_ident(view_name)
            USING ERRCODE = 'wrong_object_type', HINT = 'Give the view another name.';
    END IF;
    IF NOT pg_has_role(existing.relowner, 'USAGE') THEN
        RAISE EXCEPTION 'view %.% belongs to role "%"', quote_ident(schema_name), quote_ident(view_name), pg_get_userbyid(existing.relowner)
            USING ERRCODE = 'insufficient_privilege', HINT = 'Ask its owner to call it, or give the view another name.';
    END IF;
    RETURN existing.oid;
END
$$;
COMMENT ON FUNCTION gn_harvest.replaceable_view(text, text) IS 'The view that create_record_view may replace, null when there is none, or an error.';

-- With the caller's rights: the view is the caller's.
CREATE FUNCTION gn_harvest.create_record_view(source text, view_name text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts    text[];
    full_name text;
BEGIN
    BEGIN
        parts := parse_ident(view_name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF cardinality(parts) IS DISTINCT FROM 2 OR octet_length(parts[1]) > 63 OR octet_length(parts[2]) > 63 THEN
        RAISE EXCEPTION 'a view is named by its schema and its name, each of 63 bytes at most'
            USING ERRCODE = 'invalid_name', DETAIL = format('Name given: %s.', coalesce(quote_literal(view_name), 'null')),
                  HINT = 'SELECT gn_harvest.create_record_view(''CEN Alpes'', ''public.cen_alpes''); quote a name with capitals: ''public."CEN"''.';
    END IF;
    full_name := format('%I.%I', parts[1], parts[2]);
    BEGIN
        EXECUTE format(E'CREATE OR REPLACE VIEW %s AS\n%s', full_name,
                       gn_harvest.record_view_query(source, gn_harvest.replaceable_view(parts[1], parts[2])));
    EXCEPTION WHEN invalid_table_definition THEN
        RAISE EXCEPTION 'view % can not be replaced: its columns have other types now', full_name
            USING ERRCODE = 'invalid_table_definition', DETAIL = SQLERRM,
                  HINT = format('DROP VIEW %s; SELECT gn_harvest.create_record_view(%L, %L);', full_name, source, view_name);
    END;
    EXECUTE format('COMMENT ON VIEW %s IS %L', full_name, format('Records of source %s, by gn_harvest.create_record_view.', source));
    RETURN full_name::regclass;
END
$$;
COMMENT ON FUNCTION gn_harvest.create_record_view(text, text) IS 'Makes a view (schema.name, the caller''s own) of the records of a source, with a column of its type for each of theirs, and their geometry where PostGIS is. Called again, it takes up new columns. A later value that does not fit its column''s type is null there.';
