-- What the history forgets, in small steps: called by the scheduler, and by prune_history().

CREATE INDEX alert_resolved_idx ON gn_harvest.alert (resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX rejected_discarded_idx ON gn_harvest.rejected (discarded_at) WHERE discarded_at IS NOT NULL;

-- The last runs of a source say how it is doing, when it succeeded and what it usually brings.
CREATE FUNCTION gn_harvest.lasting_run() RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT last.id
    FROM gn_harvest.source s,
         LATERAL (SELECT r.id FROM gn_harvest.run r WHERE r.source_id = s.id AND r.mode NOT IN ('check', 'plan') ORDER BY r.id DESC LIMIT 20) last
    UNION
    SELECT last.id
    FROM gn_harvest.source s, (VALUES ('{full,reconcile}'::text[]), ('{full,reconcile,incremental}')) m(modes),
         LATERAL (SELECT r.id FROM gn_harvest.run r
                  WHERE r.source_id = s.id AND r.status = 'succeeded' AND r.mode = ANY (m.modes) ORDER BY r.id DESC LIMIT 1) last
    UNION
    -- Whether a decision on an unknown value came before or after the run that met it last.
    SELECT u.last_run FROM gn_harvest.unmapped u
    UNION
    SELECT a.run_id FROM gn_harvest.alert a WHERE a.resolved_at IS NULL AND a.run_id IS NOT NULL
$$;
COMMENT ON FUNCTION gn_harvest.lasting_run() IS 'Runs that stay in the history however old they are.';

CREATE FUNCTION gn_harvest.prune_some(most integer, run_days integer, alert_days integer, rejected_days integer,
                                      OUT runs bigint, OUT alerts bigint, OUT rejected bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM gn_harvest.run r
    WHERE r.id IN (
        SELECT o.id FROM gn_harvest.run o
        WHERE (run_days > 0 AND o.mode NOT IN ('check', 'plan') AND o.created_at < now() - make_interval(days => run_days)
               OR o.mode IN ('check', 'plan') AND o.created_at < now() - interval '1 day')
          AND (o.status <> 'running' OR o.source_id IS NULL OR o.mode IN ('check', 'plan'))
          AND NOT o.id IN (SELECT gn_harvest.lasting_run())
          AND NOT EXISTS (SELECT FROM gn_harvest.slice sl WHERE sl.run_id = o.id)
          AND NOT EXISTS (SELECT FROM gn_harvest.missing m WHERE m.run_id = o.id)
        ORDER BY o.created_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS runs = ROW_COUNT;
    DELETE FROM gn_harvest.alert a
    WHERE a.id IN (
        SELECT o.id FROM gn_harvest.alert o
        WHERE alert_days > 0 AND o.resolved_at < now() - make_interval(days => alert_days)
        ORDER BY o.resolved_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS alerts = ROW_COUNT;
    -- One that still comes is remembered: else it would wait again for somebody to discard it.
    DELETE FROM gn_harvest.rejected j
    WHERE j.id IN (
        SELECT o.id FROM gn_harvest.rejected o
        WHERE rejected_days > 0 AND o.discarded_at < now() - make_interval(days => rejected_days)
          AND o.last_seen < now() - make_interval(days => rejected_days)
        ORDER BY o.discarded_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS rejected = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION gn_harvest.prune_some(integer, integer, integer, integer) IS 'Removes at most so many runs, alerts and discarded records that are older than so many days; 0 days: none.';
