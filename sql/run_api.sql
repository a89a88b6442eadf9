-- run, run_all, retry_rejected, check_source, plan, cancel, is_running, wait_for.
-- The work is done by a background worker: these functions start it, wait for it and read what it wrote.

CREATE FUNCTION gn_harvest.run(name text, mode text DEFAULT 'auto', wait boolean DEFAULT true, allow_loss boolean DEFAULT false) RETURNS gn_harvest.run_history
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    PERFORM gn_harvest.check_choice('mode', mode, '{auto,full,incremental,reconcile}');
    RETURN gn_harvest.outcome(gn_harvest.start_worker(wanted.id, mode, gn_harvest.caller(), wait, allow_loss), wait);
END
$$;
COMMENT ON FUNCTION gn_harvest.run(text, text, boolean, boolean) IS 'Harvests a source now, in a background worker. auto: incremental if there is a watermark, else full (as after adopt_gn2pg), and an interrupted full goes on where it stopped. reconcile: full, and what the source no longer has is deleted here. allow_loss lets it delete more than max_loss, once. wait => false returns at once. Returns the run''s row; a run that failed says why there.';

CREATE FUNCTION gn_harvest.retry_rejected(name text, wait boolean DEFAULT true) RETURNS gn_harvest.run_history
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    RETURN gn_harvest.outcome(gn_harvest.start_worker(wanted.id, 'retry', gn_harvest.caller(), wait, false), wait);
END
$$;
COMMENT ON FUNCTION gn_harvest.retry_rejected(text, boolean) IS 'Tries the rejected records of a source again, from what was kept of them, without asking the partner. Returns the run''s row.';

CREATE FUNCTION gn_harvest.outcome(run_id bigint, waited boolean) RETURNS gn_harvest.run_history
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result gn_harvest.run_history;
BEGIN
    SELECT * INTO result FROM gn_harvest.all_run h WHERE h.run = run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % left no trace', run_id
            USING ERRCODE = 'internal_error', HINT = 'The server''s log says why its worker could not work.';
    END IF;
    IF waited AND result.status <> 'succeeded' THEN
        RAISE WARNING 'run % of source "%" %: %', run_id, result.source, result.status, coalesce(result.error_message, 'its worker is gone')
            USING DETAIL = coalesce(result.error_detail, ''), HINT = coalesce(result.error_hint, '');
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION gn_harvest.outcome(bigint, boolean) IS 'The row of a run that was started here.';

CREATE FUNCTION gn_harvest.run_all(wait boolean DEFAULT true) RETURNS SETOF gn_harvest.run_history
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    each_source record;
    result      gn_harvest.run_history;
BEGIN
    FOR each_source IN
        SELECT s.id, s.name FROM gn_harvest.source s
        WHERE s.enabled AND gn_harvest.may_manage(gn_harvest.caller(), s.owner)
        ORDER BY s.priority, s.name
    LOOP
        BEGIN
            result := gn_harvest.outcome(gn_harvest.start_worker(each_source.id, 'auto', gn_harvest.caller(), wait, false), wait);
            RETURN NEXT result;
        EXCEPTION WHEN OTHERS THEN -- a cancel is none of them
            RAISE WARNING 'source "%" was not run: %', each_source.name, SQLERRM;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.run_all(boolean) IS 'Runs every enabled source of the caller, one after the other (wait => false: all at once, as far as worker slots go). One that fails does not stop the others. Returns their rows.';

CREATE FUNCTION gn_harvest.check_source(name text) RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted  gn_harvest.source := gn_harvest.managed_source(name);
    checked bigint := gn_harvest.start_worker(wanted.id, 'check', gn_harvest.caller(), true, false);
BEGIN
    RETURN QUERY
        SELECT c."check", c.status, c.detail, c.hint
        FROM gn_harvest.check_result c WHERE c.run_id = checked ORDER BY c.no;
    RETURN QUERY
        SELECT 'check', 'error', r.error_message || coalesce(' (' || r.error_detail || ')', ''), r.error_hint
        FROM gn_harvest.run r WHERE r.id = checked AND r.error_message IS NOT NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_source(text) IS 'Pre-flight of a source: asks the partner and the target, one row a check (ok, warning, error), and shows a record as it would be written. Writes nothing into the target.';

CREATE FUNCTION gn_harvest.plan(name text, mode text DEFAULT 'auto') RETURNS TABLE (action text, object text, records bigint, reason text, detail text, samples jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted  gn_harvest.source := gn_harvest.managed_source(name);
    planned bigint;
    ended   gn_harvest.run;
BEGIN
    PERFORM gn_harvest.check_choice('mode', mode, '{auto,full,incremental,reconcile}');
    planned := gn_harvest.start_worker(wanted.id, 'plan ' || mode, gn_harvest.caller(), true, false);
    SELECT * INTO ended FROM gn_harvest.run r WHERE r.id = planned;
    IF ended.status <> 'succeeded' THEN
        RAISE EXCEPTION 'the run of source "%" could not be planned: %', name, coalesce(ended.error_message, 'its worker is gone')
            USING ERRCODE = coalesce(ended.error_sqlstate, '57P02'), DETAIL = coalesce(ended.error_detail, ''), HINT = coalesce(ended.error_hint, '');
    END IF;
    RETURN QUERY
        SELECT p.action, p.object, p.records, p.reason, p.detail, p.samples
        FROM gn_harvest.plan_result p WHERE p.run_id = planned ORDER BY p.no;
END
$$;
COMMENT ON FUNCTION gn_harvest.plan(text, text) IS 'What a run would do now, without doing it: how many observations would be inserted, updated (in which columns), deleted, rejected (why), what would be created or changed of metadata, with examples. Reads the partner like a run. What only triggers and constraints of the target refuse is not foreseen.';

CREATE FUNCTION gn_harvest.managed_run(run_id bigint) RETURNS gn_harvest.run
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_run gn_harvest.run;
BEGIN
    SELECT * INTO found_run FROM gn_harvest.run r WHERE r.id = run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % does not exist', run_id
            USING ERRCODE = 'undefined_object', HINT = 'SELECT run, source, status FROM gn_harvest.run_history ORDER BY run DESC LIMIT 10;';
    END IF;
    PERFORM gn_harvest.managed_source(s.name) FROM gn_harvest.source s WHERE s.id = found_run.source_id;
    RETURN found_run;
END
$$;
COMMENT ON FUNCTION gn_harvest.managed_run(bigint) IS 'A run that the caller may manage, or an error.';

CREATE FUNCTION gn_harvest.cancel(run_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target gn_harvest.run := gn_harvest.managed_run(run_id);
BEGIN
    RETURN coalesce((
        SELECT pg_cancel_backend(a.pid)
        FROM pg_stat_activity a
        WHERE target.status = 'running' AND a.pid = target.pid
          AND a.backend_type = 'gn_harvest run' AND a.datname = current_database()), false);
END
$$;
COMMENT ON FUNCTION gn_harvest.cancel(bigint) IS 'Stops a run cleanly, from any session: what it has written stays, the next run goes on from there. False when it was not running.';

CREATE FUNCTION gn_harvest.is_running(name text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- On its own: in one query it would not be asked while nothing runs.
    asked gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    RETURN asked.id IN (SELECT gn_harvest.working_source());
END
$$;
COMMENT ON FUNCTION gn_harvest.is_running(text) IS 'Whether a run of the source is going on now.';

CREATE FUNCTION gn_harvest.wait_for(run_id bigint, timeout interval DEFAULT NULL) RETURNS gn_harvest.run_history
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    awaited gn_harvest.run := gn_harvest.managed_run(run_id);
    give_up timestamptz := clock_timestamp() + timeout;
    worker_is_gone boolean;
    result  gn_harvest.run_history;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'this transaction would never see the run end'
            USING ERRCODE = 'active_sql_transaction',
                  DETAIL = format('Its isolation level is %s.', current_setting('transaction_isolation')),
                  HINT = 'Call it in a READ COMMITTED transaction, or outside one.';
    END IF;
    LOOP
        -- Until its worker has gone too, so that whoever has waited finds the source free. In this order: what a worker
        -- that is gone has written is there for a statement that begins afterwards.
        worker_is_gone := NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.pid = awaited.pid AND l.classid = 'gn_harvest.source'::regclass AND l.objid = awaited.source_id AND l.objsubid = 1);
        SELECT * INTO result FROM gn_harvest.all_run h WHERE h.run = run_id;
        EXIT WHEN worker_is_gone AND result.status <> 'running' OR clock_timestamp() >= give_up;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION gn_harvest.wait_for(bigint, interval) IS 'Waits until a run has ended, or for as long as timeout says, and returns its row.';
