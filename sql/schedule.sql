-- Schedules: what the scheduler reads of a source, when it runs next, and whether anything runs at all.

-- A run that a crash, a shutdown or the end of the allowed hours broke off is taken up again if the source has a
-- schedule. What breaks it off again and again (four times in a row in a day) does not do so for ever.
CREATE VIEW gn_harvest.standing AS
SELECT s.id AS source_id,
       s.name AS source,
       s.priority,
       s.enabled,
       s.schedule,
       s.reconcile_schedule,
       extract(epoch FROM s.schedule_jitter)::double precision AS jitter,
       s.allowed_hours,
       st.ticks_settled_at,
       st.reconciles_settled_at,
       CASE broken.mode WHEN 'reconcile' THEN 'reconcile' WHEN NULL THEN NULL ELSE 'auto' END AS broken_off_mode,
       broken.finished_at AS broken_off_at
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
LEFT JOIN LATERAL (
    SELECT (array_agg(r.mode ORDER BY r.id DESC))[1] AS mode,
           (array_agg(r.status ORDER BY r.id DESC))[1] AS status,
           (array_agg(r.finished_at ORDER BY r.id DESC))[1] AS finished_at,
           count(*) FILTER (WHERE r.status = 'interrupted' AND r.error_sqlstate = '57P02'
                              AND r.created_at > now() - interval '1 day') AS broken_off_in_a_row
    FROM (SELECT * FROM gn_harvest.run h
          WHERE h.source_id = s.id AND h.mode IN ('auto', 'full', 'incremental', 'reconcile')
          ORDER BY h.id DESC LIMIT 4) r
) broken ON (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL)
        AND broken.status = 'interrupted' AND broken.broken_off_in_a_row < 4;
COMMENT ON VIEW gn_harvest.standing IS 'What the scheduler reads of each source.';
COMMENT ON COLUMN gn_harvest.standing.source_id IS 'Number of the source.';
COMMENT ON COLUMN gn_harvest.standing.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.standing.priority IS 'Rank among what is due: the lower number comes first.';
COMMENT ON COLUMN gn_harvest.standing.enabled IS 'Whether it may be run.';
COMMENT ON COLUMN gn_harvest.standing.schedule IS 'When it runs.';
COMMENT ON COLUMN gn_harvest.standing.reconcile_schedule IS 'When it is reconciled.';
COMMENT ON COLUMN gn_harvest.standing.jitter IS 'Greatest time by which its runs begin later, in seconds.';
COMMENT ON COLUMN gn_harvest.standing.allowed_hours IS 'Hours in which its runs may work.';
COMMENT ON COLUMN gn_harvest.standing.ticks_settled_at IS 'Ticks of its schedule up to here are settled.';
COMMENT ON COLUMN gn_harvest.standing.reconciles_settled_at IS 'The same for reconcile_schedule.';
COMMENT ON COLUMN gn_harvest.standing.broken_off_mode IS 'Mode in which a run that broke off is taken up; null when there is none.';
COMMENT ON COLUMN gn_harvest.standing.broken_off_at IS 'When it broke off.';

CREATE FUNCTION gn_harvest.frequency(schedule text, reconcile_schedule text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT gn_harvest.frequency_in(schedule, reconcile_schedule, gn_harvest.in_french())
$$;
COMMENT ON FUNCTION gn_harvest.frequency(text, text) IS 'A schedule in words, in the language of gn_harvest.language: « Mensuelle – Jour 01 », « Weekly – Monday ».';

CREATE FUNCTION gn_harvest.schedule_obstacle() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT gn_harvest.is_preloaded() THEN 'not_preloaded' END
$$;
COMMENT ON FUNCTION gn_harvest.schedule_obstacle() IS 'Why schedules of this database do not run; null when they do.';

-- A schedule begins when it is given: what it would have wanted before is not made up for.
CREATE FUNCTION gn_harvest.begin_schedules(before gn_harvest.source, after gn_harvest.source) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (before.schedule, before.reconcile_schedule) IS NOT DISTINCT FROM (after.schedule, after.reconcile_schedule) THEN
        RETURN;
    END IF;
    UPDATE gn_harvest.source_state st
    SET ticks_settled_at = CASE WHEN before.schedule = after.schedule THEN st.ticks_settled_at ELSE gn_harvest.clock() END,
        reconciles_settled_at = CASE WHEN before.reconcile_schedule = after.reconcile_schedule
                                     THEN st.reconciles_settled_at ELSE gn_harvest.clock() END
    WHERE st.source_id = after.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.begin_schedules(gn_harvest.source, gn_harvest.source) IS 'Begins the schedules of a source that have changed.';
