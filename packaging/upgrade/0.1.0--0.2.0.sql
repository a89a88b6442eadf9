-- What packaging/upgrade/script cannot tell by itself of the way from 0.1.0 to 0.2.0: a part for each table that has changed
-- and was there, what comes before everything, and what comes after. `make upgrade-script` puts it together.

-- part: before

-- Whom the functions and views that are made anew below were granted to.
SELECT pg_catalog.set_config('gn_harvest_upgrade.grants', coalesce(pg_catalog.jsonb_agg(g), '[]')::text, true)
FROM (
    SELECT 'FUNCTION' AS kind, p.proname AS name, a.grantee::pg_catalog.regrole AS role, a.privilege_type AS privilege
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
    WHERE p.pronamespace = 'gn_harvest'::pg_catalog.regnamespace AND a.grantee NOT IN (0, p.proowner)
    UNION ALL
    SELECT 'VIEW', c.relname, a.grantee::pg_catalog.regrole, a.privilege_type
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
    WHERE c.relnamespace = 'gn_harvest'::pg_catalog.regnamespace AND c.relkind = 'v' AND a.grantee NOT IN (0, c.relowner)
) g;

-- Their columns are not in the order of before: a view of yours on them has to be dropped and made again.
DROP VIEW gn_harvest.run_progress;
DROP VIEW gn_harvest.source_status;

-- part: table source

ALTER TABLE gn_harvest.source
    ADD COLUMN target             text     NOT NULL DEFAULT 'synthese',
    ADD COLUMN deletion_export_id integer,
    ADD COLUMN after_run          text,
    ADD COLUMN schedule           text     NOT NULL DEFAULT 'manual',
    ADD COLUMN reconcile_schedule text,
    ADD COLUMN schedule_jitter    interval NOT NULL DEFAULT '0',
    ADD COLUMN writers            integer,
    ADD COLUMN load               text     NOT NULL DEFAULT 'standard',
    ADD COLUMN bootstrap_url      text;

-- part: table run

ALTER TABLE gn_harvest.run
    ADD COLUMN writers   integer[],
    ADD COLUMN read_from text;

-- part: table source_state

ALTER TABLE gn_harvest.source_state
    ADD COLUMN hook_run              bigint,
    ADD COLUMN ticks_settled_at      timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN reconciles_settled_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN selection             bigint;

-- part: table harvested

-- Filled at the end, where they are counted.
ALTER TABLE gn_harvest.harvested
    ADD COLUMN cd_nom     integer,
    ADD COLUMN id_dataset integer;

-- part: table former_source

ALTER TABLE gn_harvest.former_source
    ALTER COLUMN id_source DROP NOT NULL,
    ADD COLUMN target text NOT NULL DEFAULT 'synthese',
    ADD COLUMN owner  name;
ALTER TABLE gn_harvest.former_source ALTER COLUMN target DROP DEFAULT;
-- The version before does not say whose they were.
UPDATE gn_harvest.former_source SET owner = dropped_by;
ALTER TABLE gn_harvest.former_source ALTER COLUMN owner SET NOT NULL;

-- part: after

-- Operators and readers get what this version gives them; others keep what they had.
DO $$
DECLARE
    had   jsonb := current_setting('gn_harvest_upgrade.grants')::jsonb;
    given record;
BEGIN
    FOR given IN
        SELECT r.rolname AS role, true AS operates
        FROM jsonb_to_recordset(had) h(kind text, name text, role text)
        JOIN pg_roles r ON r.oid = h.role::regrole
        WHERE h.kind = 'FUNCTION' AND h.name = 'run'
        UNION
        SELECT r.rolname, false
        FROM gn_harvest.reader known JOIN pg_roles r ON r.rolname = known.role
    LOOP
        IF given.operates THEN
            PERFORM gn_harvest.grant_operator(given.role);
        ELSE
            PERFORM gn_harvest.grant_reader(given.role);
        END IF;
    END LOOP;
    FOR given IN
        SELECT format('GRANT %s ON %s TO %s', h.privilege,
                      CASE h.kind WHEN 'VIEW' THEN format('gn_harvest.%I', h.name) ELSE 'FUNCTION ' || p.oid::regprocedure END, h.role) AS command
        FROM jsonb_to_recordset(had) h(kind text, name text, role text, privilege text)
        LEFT JOIN pg_proc p ON h.kind = 'FUNCTION' AND p.pronamespace = 'gn_harvest'::regnamespace AND p.proname = h.name
        WHERE h.kind = 'VIEW' OR p.oid IS NOT NULL
    LOOP
        EXECUTE given.command;
    END LOOP;
END
$$;

-- Figures that are counted from now on.
SELECT gn_harvest.recount();
