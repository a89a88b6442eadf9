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
       CASE WHEN broken.mode = 'reconcile' THEN 'reconcile' WHEN broken.mode IS NOT NULL THEN 'auto' END AS broken_off_mode,
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

-- Empty until the first schedule is given, so that a template with the extension in it is a good one. It is part of a
-- dump on purpose: restored elsewhere it says that this is not the place.
CREATE TABLE gn_harvest.home (
    place      jsonb       NOT NULL,
    settled_by name        NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX home_is_one ON gn_harvest.home ((true));
COMMENT ON TABLE gn_harvest.home IS 'The place where schedules of this database run: in a copy of it (a dump restored, a clone, copied files) they do not, until resume_schedules().';

CREATE FUNCTION gn_harvest.is_at_home() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM gn_harvest.home)
                -- A recovery from an archive is a copy too, even one into the files of the original.
                THEN EXISTS (SELECT FROM gn_harvest.home h
                             WHERE h.place = gn_harvest.place()
                               AND NOT (gn_harvest.is_recovered() AND h.settled_at < pg_postmaster_start_time()))
                ELSE NOT EXISTS (SELECT FROM gn_harvest.source s WHERE s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL) END
$$;
COMMENT ON FUNCTION gn_harvest.is_at_home() IS 'Whether this database is where its schedules were given, and no copy of it.';

CREATE FUNCTION gn_harvest.schedule_obstacle() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT gn_harvest.is_preloaded() THEN 'not_preloaded'
                WHEN pg_is_in_recovery() THEN 'standby'
                WHEN (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'gn_harvest') <> gn_harvest.library_version() THEN 'version'
                WHEN (SELECT d.datistemplate FROM pg_database d WHERE d.datname = current_database()) THEN 'template'
                WHEN NOT gn_harvest.is_at_home() THEN 'copy' END
$$;
COMMENT ON FUNCTION gn_harvest.schedule_obstacle() IS 'Why schedules of this database do not run; null when they do.';

CREATE FUNCTION gn_harvest.obstacle_advice(obstacle text, french boolean, OUT detail text, OUT hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    library_line text := format('shared_preload_libraries = ''%s''',
                                concat_ws(', ', CASE WHEN pg_has_role(gn_harvest.caller(), 'pg_read_all_settings', 'USAGE')
                                                     THEN nullif(current_setting('shared_preload_libraries'), '') ELSE '...' END,
                                          'gn_harvest'));
BEGIN
    SELECT a.detail, a.hint INTO detail, hint
    FROM (VALUES
        ('not_preloaded', false, 'The library is not in shared_preload_libraries: nothing runs by itself.',
         format('Write %s in postgresql.conf and restart PostgreSQL; or let pg_cron call gn_harvest.run().', library_line)),
        ('not_preloaded', true, 'La bibliothèque n''est pas dans shared_preload_libraries : rien ne se lance de soi-même.',
         format('Écrire %s dans postgresql.conf et redémarrer PostgreSQL ; ou faire appeler gn_harvest.run() par pg_cron.', library_line)),
        ('no_launcher', false, 'The process gn_harvest launcher is not there.',
         'It is started again within seconds. If not, raise max_worker_processes and restart PostgreSQL; the server''s log says why.'),
        ('no_launcher', true, 'Le processus gn_harvest launcher n''est pas là.',
         'Il redémarre en quelques secondes. Sinon, augmenter max_worker_processes et redémarrer PostgreSQL ; le journal du serveur dit pourquoi.'),
        ('standby', false, 'This server is a standby: the primary runs the schedules.', NULL),
        ('standby', true, 'Ce serveur est un serveur secondaire : le primaire suit les planifications.', NULL),
        ('version', false, format('The library is of version %s, the extension in this database is not.', gn_harvest.library_version()),
         'ALTER EXTENSION gn_harvest UPDATE; or restart PostgreSQL if the library is the older one.'),
        ('version', true, format('La bibliothèque est de version %s, l''extension de cette base ne l''est pas.', gn_harvest.library_version()),
         'ALTER EXTENSION gn_harvest UPDATE; ou redémarrer PostgreSQL si la bibliothèque est la plus ancienne.'),
        ('template', false, 'This database is a template.', 'ALTER DATABASE ... IS_TEMPLATE false lets it run.'),
        ('template', true, 'Cette base est un modèle.', 'ALTER DATABASE ... IS_TEMPLATE false la laisse travailler.'),
        ('copy', false, 'This database is a copy (restored, cloned, or its files copied or moved): its schedules are paused.',
         'SELECT gn_harvest.resume_schedules(); lets them run here, if the original does not go on as well.'),
        ('copy', true, 'Cette base est une copie (restaurée, clonée, ou ses fichiers copiés ou déplacés) : ses planifications sont en pause.',
         'SELECT gn_harvest.resume_schedules(); les relance ici, si l''originale ne continue pas de son côté.')
    ) a (obstacle, french, detail, hint)
    WHERE a.obstacle = obstacle_advice.obstacle AND a.french = obstacle_advice.french;
END
$$;
COMMENT ON FUNCTION gn_harvest.obstacle_advice(text, boolean) IS 'What an obstacle to schedules is and what to do, in words.';

CREATE FUNCTION gn_harvest.resume_schedules() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby'
            USING ERRCODE = 'read_only_sql_transaction', HINT = 'It goes on by itself once it is promoted.';
    END IF;
    IF NOT gn_harvest.is_at_home() THEN
        DELETE FROM gn_harvest.home;
        INSERT INTO gn_harvest.home (place, settled_by) VALUES (gn_harvest.place(), gn_harvest.caller());
        -- What was missed in the meantime is not made up for.
        UPDATE gn_harvest.source_state SET ticks_settled_at = gn_harvest.clock(), reconciles_settled_at = gn_harvest.clock();
    END IF;
    RETURN (SELECT count(*) FROM gn_harvest.source s
            WHERE s.enabled AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL));
END
$$;
COMMENT ON FUNCTION gn_harvest.resume_schedules() IS 'Lets the schedules run in a database that was restored, cloned or copied, from now on. Returns how many sources have one. For superusers and whom they grant it to.';

-- A schedule begins when it is given: what it would have wanted before is not made up for.
CREATE FUNCTION gn_harvest.begin_schedules(before gn_harvest.source, after gn_harvest.source) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    advice record;
BEGIN
    IF (before.schedule, before.reconcile_schedule) IS NOT DISTINCT FROM (after.schedule, after.reconcile_schedule) THEN
        RETURN;
    END IF;
    UPDATE gn_harvest.source_state st
    SET ticks_settled_at = CASE WHEN before.schedule = after.schedule THEN st.ticks_settled_at ELSE gn_harvest.clock() END,
        reconciles_settled_at = CASE WHEN before.reconcile_schedule = after.reconcile_schedule
                                     THEN st.reconciles_settled_at ELSE gn_harvest.clock() END
    WHERE st.source_id = after.id;
    -- The first schedule says where this database is at home.
    INSERT INTO gn_harvest.home (place, settled_by)
    SELECT gn_harvest.place(), gn_harvest.caller()
    WHERE NOT EXISTS (SELECT FROM gn_harvest.home)
      AND NOT EXISTS (SELECT FROM gn_harvest.source s
                      WHERE s.id <> after.id AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL))
      AND (after.schedule <> 'manual' OR after.reconcile_schedule IS NOT NULL)
    ON CONFLICT DO NOTHING;
    IF after.schedule <> 'manual' OR after.reconcile_schedule IS NOT NULL THEN
        SELECT * INTO advice FROM gn_harvest.obstacle_advice(gn_harvest.schedule_obstacle(), gn_harvest.in_french());
        IF advice.detail IS NOT NULL THEN
            RAISE NOTICE '%', advice.detail USING HINT = coalesce(advice.hint, '');
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.begin_schedules(gn_harvest.source, gn_harvest.source) IS 'Begins the schedules of a source that have changed.';

CREATE FUNCTION gn_harvest.schedule_check(source_id integer) RETURNS TABLE (status text, detail text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT scheduled OR obstacle IS NULL AND s.enabled THEN 'ok' ELSE 'warning' END,
           concat_ws(' ', gn_harvest.frequency_in(s.schedule, s.reconcile_schedule, false) || '.', coalesce(a.detail,
               CASE WHEN NOT s.enabled THEN 'The source is paused.'
                    WHEN scheduled THEN 'Next run: ' || to_char(gn_harvest.next_run(g.source_id, g.schedule, g.reconcile_schedule,
                         g.jitter, g.allowed_hours, g.ticks_settled_at, g.reconciles_settled_at, g.broken_off_mode, g.broken_off_at)
                         AT TIME ZONE gn_harvest.schedule_timezone(), 'YYYY-MM-DD HH24:MI') || ', time of '
                         || gn_harvest.schedule_timezone() || '.' END)),
           coalesce(a.hint, CASE WHEN NOT s.enabled THEN format('SELECT gn_harvest.resume_source(%L);', s.name)
                                 WHEN NOT scheduled THEN format('SELECT gn_harvest.alter_source(%L, schedule => ''daily 03:00''); lets it run by itself.', s.name) END)
    FROM gn_harvest.source s
    JOIN gn_harvest.standing g ON g.source_id = s.id,
         gn_harvest.schedule_obstacle() obstacle,
         LATERAL (SELECT s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL AS scheduled) has,
         LATERAL gn_harvest.obstacle_advice(obstacle, false) a
    WHERE s.id = schedule_check.source_id
$$;
COMMENT ON FUNCTION gn_harvest.schedule_check(integer) IS 'The row about its schedule in check_source.';

CREATE FUNCTION gn_harvest.scheduler_facts() RETURNS TABLE (
    obstacle text, launcher_pid integer, last_visit timestamptz, runs integer, scheduled integer, timezone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(gn_harvest.schedule_obstacle(), CASE WHEN launcher.pid IS NULL THEN 'no_launcher' END),
           launcher.pid, gn_harvest.last_visit(),
           (SELECT count(*)::integer FROM pg_stat_get_activity(NULL) a WHERE a.backend_type = 'gn_harvest run'),
           (SELECT count(*)::integer FROM gn_harvest.source s
            WHERE s.enabled AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL)),
           gn_harvest.schedule_timezone()
    FROM (SELECT max(a.pid) AS pid FROM pg_stat_get_activity(NULL) a WHERE a.backend_type = 'gn_harvest launcher') launcher
$$;
COMMENT ON FUNCTION gn_harvest.scheduler_facts() IS 'What scheduler_status shows that not everybody may see in pg_stat_activity.';

CREATE VIEW gn_harvest.scheduler_status AS
SELECT gn_harvest.word(CASE f.obstacle WHEN 'not_preloaded' THEN 'not enabled' WHEN 'no_launcher' THEN 'not running'
                                       WHEN 'standby' THEN 'standby' WHEN 'copy' THEN 'paused' WHEN 'version' THEN 'to be updated'
                                       WHEN 'template' THEN 'template' ELSE 'active' END) AS state,
       a.detail,
       a.hint,
       f.launcher_pid,
       f.last_visit,
       f.scheduled AS scheduled_sources,
       f.runs AS runs_going_on,
       pg_catalog.current_setting('gn_harvest.max_concurrent_runs', true)::integer AS max_concurrent_runs,
       f.timezone
FROM gn_harvest.scheduler_facts() f, LATERAL gn_harvest.obstacle_advice(f.obstacle, gn_harvest.in_french()) a;
COMMENT ON VIEW gn_harvest.scheduler_status IS 'One row: whether schedules of this database run, and what to do if not. Words in the language of gn_harvest.language.';
COMMENT ON COLUMN gn_harvest.scheduler_status.state IS 'active, not enabled, not running, standby, paused (a copy), to be updated, or template, in words.';
COMMENT ON COLUMN gn_harvest.scheduler_status.detail IS 'Why schedules do not run; null when they do.';
COMMENT ON COLUMN gn_harvest.scheduler_status.hint IS 'What to do about it.';
COMMENT ON COLUMN gn_harvest.scheduler_status.launcher_pid IS 'Process of the launcher, as in pg_stat_activity.';
COMMENT ON COLUMN gn_harvest.scheduler_status.last_visit IS 'When the scheduler looked at this database last, since the server was started.';
COMMENT ON COLUMN gn_harvest.scheduler_status.scheduled_sources IS 'Sources of this database that have a schedule and are not paused.';
COMMENT ON COLUMN gn_harvest.scheduler_status.runs_going_on IS 'Runs that go on in this server, whoever started them.';
COMMENT ON COLUMN gn_harvest.scheduler_status.max_concurrent_runs IS 'Runs above which the scheduler starts no other.';
COMMENT ON COLUMN gn_harvest.scheduler_status.timezone IS 'Time zone of schedules and allowed hours.';
