-- Compares the database with the recorded model of a real GeoNature (spec/*.csv, restricted
-- to the tables that are modelled here) and prints one row a difference: no row, no
-- difference. Run from this directory, on any database made by target.sql:
--   psql -X -qAt -v ON_ERROR_STOP=1 -d DB -f check.sql
-- Nothing is left behind. Constraints are compared by name and definition, so the same
-- constraint written in another way must still deparse to the recorded text.

\set QUIET on
\encoding UTF8
BEGIN;
SET LOCAL client_min_messages = warning;
-- Names of extension types and functions are recorded without their schema.
SET LOCAL search_path = pg_temp, public;

CREATE TEMPORARY TABLE spec_column (
    schema text, table_name text, relkind text, pos integer, column_name text,
    data_type text, nullable boolean, has_default boolean, default_expr text
) ON COMMIT DROP;
CREATE TEMPORARY TABLE spec_constraint (
    schema text, table_name text, name text, type text, is_deferrable boolean, validated boolean, definition text
) ON COMMIT DROP;
CREATE TEMPORARY TABLE spec_index (
    schema text, table_name text, name text, definition text
) ON COMMIT DROP;
CREATE TEMPORARY TABLE spec_trigger (
    schema text, table_name text, name text, timing text, events text, level text,
    update_of text, function text, enabled text
) ON COMMIT DROP;
\copy spec_column     FROM 'spec/columns.csv'        WITH (FORMAT csv, HEADER)
\copy spec_constraint FROM 'spec/constraints.csv'    WITH (FORMAT csv, HEADER)
\copy spec_index      FROM 'spec/unique_indexes.csv' WITH (FORMAT csv, HEADER)
\copy spec_trigger    FROM 'spec/triggers.csv'       WITH (FORMAT csv, HEADER)

CREATE TEMPORARY VIEW modelled AS
SELECT c.oid, s.schema, s.table_name
  FROM (SELECT DISTINCT schema, table_name FROM spec_column) AS s
  LEFT JOIN pg_namespace AS n ON n.nspname = s.schema
  LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = s.table_name AND c.relkind = 'r';

CREATE TEMPORARY VIEW expected (schema, table_name, kind, name, fact) AS
SELECT schema, table_name, 'column', column_name,
       concat_ws(' ', data_type, CASE WHEN NOT nullable THEN 'not null' END, 'default ' || default_expr)
  FROM spec_column
 UNION ALL
SELECT schema, table_name, 'constraint', name,
       definition || CASE WHEN is_deferrable THEN ' deferrable' ELSE '' END
  FROM spec_constraint
 UNION ALL
SELECT schema, table_name, 'unique index', name, definition
  FROM spec_index
 UNION ALL
SELECT schema, table_name, 'trigger', name,
       concat_ws(' ', timing, events, level, function, enabled,
                 (SELECT 'of ' || string_agg(col, ' ' ORDER BY col)
                    FROM regexp_split_to_table(update_of, ' ') AS col))
  FROM spec_trigger;

CREATE TEMPORARY VIEW found (schema, table_name, kind, name, fact) AS
SELECT m.schema, m.table_name, 'column', a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                 'default ' || pg_get_expr(d.adbin, d.adrelid))
  FROM modelled AS m
  JOIN pg_attribute AS a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 UNION ALL
SELECT m.schema, m.table_name, 'constraint', k.conname,
       pg_get_constraintdef(k.oid) || CASE WHEN k.condeferrable THEN ' deferrable' ELSE '' END
  FROM modelled AS m
  JOIN pg_constraint AS k ON k.conrelid = m.oid AND k.contype IN ('p', 'u', 'c', 'f', 'x')
 UNION ALL
SELECT m.schema, m.table_name, 'unique index', i.relname, pg_get_indexdef(x.indexrelid)
  FROM modelled AS m
  JOIN pg_index AS x ON x.indrelid = m.oid AND x.indisunique
  JOIN pg_class AS i ON i.oid = x.indexrelid
 UNION ALL
SELECT m.schema, m.table_name, 'trigger', t.tgname,
       concat_ws(' ',
                 CASE WHEN t.tgtype & 2 > 0 THEN 'BEFORE' ELSE 'AFTER' END,
                 concat_ws(' OR ', CASE WHEN t.tgtype & 4 > 0 THEN 'INSERT' END,
                                   CASE WHEN t.tgtype & 16 > 0 THEN 'UPDATE' END,
                                   CASE WHEN t.tgtype & 8 > 0 THEN 'DELETE' END),
                 CASE WHEN t.tgtype & 1 > 0 THEN 'ROW' ELSE 'STATEMENT' END,
                 pn.nspname || '.' || p.proname,
                 t.tgenabled,
                 (SELECT 'of ' || string_agg(a.attname, ' ' ORDER BY a.attname)
                    FROM pg_attribute AS a
                   WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)))
  FROM modelled AS m
  JOIN pg_trigger AS t ON t.tgrelid = m.oid AND NOT t.tgisinternal
  JOIN pg_proc AS p ON p.oid = t.tgfoid
  JOIN pg_namespace AS pn ON pn.oid = p.pronamespace;

SELECT e.schema || '.' || e.table_name AS "table", e.kind, e.name, e.fact AS expected, f.fact AS found
  FROM expected AS e
  LEFT JOIN found AS f USING (schema, table_name, kind, name)
 WHERE f.fact IS DISTINCT FROM e.fact
 UNION ALL
SELECT f.schema || '.' || f.table_name, f.kind, f.name, NULL, f.fact
  FROM found AS f
  LEFT JOIN expected AS e USING (schema, table_name, kind, name)
 WHERE e.name IS NULL
 ORDER BY 1, 2, 3;
ROLLBACK;
