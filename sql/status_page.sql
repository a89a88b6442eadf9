-- The status page: what it shows, from the views and hence with the rights of whoever asks, and the page made of it.

CREATE FUNCTION gn_harvest.status_page_data() RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'database', current_database(),
        'version', gn_harvest.installed_version(),
        'now', now(),
        'time_zone', current_setting('TimeZone'),
        'today', current_date,
        'dashboard', (SELECT to_json(d) FROM gn_harvest.dashboard d),
        'sources', (SELECT coalesce(json_agg(s ORDER BY s.source), '[]') FROM gn_harvest.source_status s),
        'alerts', (SELECT coalesce(json_agg(a ORDER BY array_position('{critical,warning,info}'::text[], a.severity), a.opened_at DESC), '[]')
                   FROM gn_harvest.open_alert a),
        'progress', (SELECT coalesce(json_agg(p ORDER BY p.run), '[]') FROM gn_harvest.run_progress p),
        'rejected', (SELECT coalesce(json_agg(r), '[]') FROM gn_harvest.rejected_by_reason r),
        'days', (SELECT coalesce(json_agg(d), '[]') FROM (
            -- Under the name that the source has now.
            SELECT s.source,
                   current_date - h.started_at::date AS ago,
                   count(*) AS runs,
                   count(*) FILTER (WHERE h.status IN ('failed', 'blocked', 'interrupted')) AS failures,
                   sum(h.inserted) AS inserted,
                   sum(h.updated) AS updated,
                   sum(h.deleted) AS deleted,
                   sum(h.rejected) AS rejected
            FROM gn_harvest.source_status s
            JOIN gn_harvest.run_history l ON l.run = s.last_run
            JOIN gn_harvest.run_history h ON h.source_id = l.source_id AND h.started_at >= (current_date - 29)::timestamptz
            GROUP BY s.source, h.started_at::date) d))
$$;
COMMENT ON FUNCTION gn_harvest.status_page_data() IS 'What the status page shows, as JSON: the views, as whoever asks may see them, and what runs did in each of the last thirty days.';

CREATE FUNCTION gn_harvest.installed_version() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT extversion FROM pg_extension WHERE extname = 'gn_harvest'
$$;
COMMENT ON FUNCTION gn_harvest.installed_version() IS 'Version of the extension in this database.';

CREATE FUNCTION gn_harvest.status_page(language text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before  text := coalesce(current_setting('gn_harvest.language', true), '');
    page    text;
BEGIN
    IF language NOT IN ('fr', 'en') THEN
        RAISE EXCEPTION 'language can not be "%"', language
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is one of: fr, en; without it, that of gn_harvest.language.';
    END IF;
    IF language IS NOT NULL THEN
        PERFORM set_config('gn_harvest.language', language, true);
    END IF;
    page := gn_harvest.render_status_page(gn_harvest.status_page_data()::text, gn_harvest.in_french());
    PERFORM set_config('gn_harvest.language', before, true);
    RETURN page;
END
$$;
COMMENT ON FUNCTION gn_harvest.status_page(text) IS 'One self-contained HTML page that says how the sources are doing, of those that the caller may see; language fr or en, by default that of gn_harvest.language.';
