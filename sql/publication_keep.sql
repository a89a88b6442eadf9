-- The part of publish_export that takes more rights than a publisher has: what the extension keeps of a publication, and
-- triggers and index on tables of GeoNature. Each of these checks who calls.

CREATE FUNCTION gn_harvest.publication_named(a_label text) RETURNS gn_harvest.publication
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_publication gn_harvest.publication;
BEGIN
    SELECT * INTO found_publication FROM gn_harvest.publication p WHERE p.label = a_label;
    IF FOUND AND NOT gn_harvest.may_manage(gn_harvest.caller(), found_publication.owner) THEN
        RAISE EXCEPTION 'role "%" may not manage publication "%"', gn_harvest.caller(), a_label
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_publication.owner),
                  HINT = format('GRANT %I TO %I, or ask the owner.', found_publication.owner, gn_harvest.caller());
    END IF;
    RETURN found_publication;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_named(text) IS 'A publication that the caller may manage; empty when there is none, an error when it is another''s.';

CREATE FUNCTION gn_harvest.slug_of(a_label text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH plain AS (
        SELECT coalesce(nullif(trim(BOTH '_' FROM left(regexp_replace(translate(lower(a_label),
                   'àâäáãåçéèêëíìîïñóòôöõúùûüÿœæ', 'aaaaaaceeeeiiiinooooouuuuyoa'), '[^a-z0-9]+', '_', 'g'), 24)), ''), 'export') AS slug)
    SELECT p.slug || CASE n WHEN 1 THEN '' ELSE '_' || n END
    FROM plain p, generate_series(1, 99) n
    WHERE NOT EXISTS (SELECT FROM gn_harvest.publication o WHERE o.slug = p.slug || CASE n WHEN 1 THEN '' ELSE '_' || n END)
    ORDER BY n LIMIT 1
$$;
COMMENT ON FUNCTION gn_harvest.slug_of(text) IS 'A label as a part of names of views, not yet taken.';

CREATE FUNCTION gn_harvest.derniere_action_index() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'CREATE INDEX IF NOT EXISTS gn_harvest_derniere_action ON gn_synthese.synthese ((coalesce(meta_update_date, meta_create_date)))'
    WHERE to_regclass('gn_synthese.gn_harvest_derniere_action') IS NULL
$$;
COMMENT ON FUNCTION gn_harvest.derniere_action_index() IS 'The statement that makes the index of increments; null: it is there.';

-- Keeps the options, what they name, and what they make leave; watches the source.
CREATE FUNCTION gn_harvest.keep_publication(wanted gn_harvest.publication, make_index boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' SET client_min_messages = warning
AS $$
DECLARE
    before    gn_harvest.publication := gn_harvest.publication_named(wanted.label);
    statement text;
BEGIN
    IF NOT has_table_privilege(gn_harvest.caller(), 'gn_synthese.synthese', 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for table synthese' USING ERRCODE = 'insufficient_privilege',
            HINT = format('GRANT SELECT ON gn_synthese.synthese TO %I;', gn_harvest.caller());
    END IF;
    wanted.owner := coalesce(before.owner, gn_harvest.caller());
    wanted.slug := coalesce(before.slug, wanted.slug);
    wanted.edition := coalesce(before.edition, 0) + 1;
    INSERT INTO gn_harvest.publication AS p
        (slug, label, owner, datasets, frameworks, organisms, areas, taxa, date_min, date_max, sensitivity_max, diffusion_levels,
         blurred, personal_data, edition)
    VALUES (wanted.slug, wanted.label, wanted.owner, wanted.datasets, wanted.frameworks, wanted.organisms, wanted.areas, wanted.taxa,
            wanted.date_min, wanted.date_max, wanted.sensitivity_max, wanted.diffusion_levels,
            wanted.blurred, wanted.personal_data, wanted.edition)
    ON CONFLICT (slug) DO UPDATE
    SET (datasets, frameworks, organisms, areas, taxa, date_min, date_max, sensitivity_max, diffusion_levels,
         blurred, personal_data, edition, published_at)
      = (excluded.datasets, excluded.frameworks, excluded.organisms, excluded.areas, excluded.taxa, excluded.date_min, excluded.date_max,
         excluded.sensitivity_max, excluded.diffusion_levels, excluded.blurred, excluded.personal_data, excluded.edition, now());
    INSERT INTO gn_harvest.publication_scope SELECT wanted.slug, wanted.edition, m.kind, m.id FROM gn_harvest.publication_members(wanted) m;
    IF before.slug IS NOT NULL THEN
        PERFORM gn_harvest.settle_options(before, wanted);
    END IF;
    DELETE FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition <> wanted.edition;
    FOREACH statement IN ARRAY gn_harvest.publication_unwatch_sql(wanted.slug) || gn_harvest.publication_watch_sql(wanted)
        || gn_harvest.metadata_watch_sql()
        || CASE WHEN make_index THEN ARRAY[gn_harvest.derniere_action_index()] ELSE '{}' END
    LOOP
        IF statement IS NOT NULL THEN
            EXECUTE statement;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.keep_publication(gn_harvest.publication, boolean) IS 'The part of publish_export that takes the rights of the extension.';

-- Other options let other rows through: what is out now has left, and what is in now has no new date.
CREATE FUNCTION gn_harvest.settle_options(before gn_harvest.publication, wanted gn_harvest.publication) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    untold text[] := '{owner,edition,selection,marker,observations_export,metadata_export,deletions_export,published_at}';
    members_changed boolean := EXISTS (
        SELECT FROM (SELECT c.kind, c.id FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition = before.edition) was
        FULL JOIN (SELECT c.kind, c.id FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition = wanted.edition) now USING (kind, id)
        WHERE was.id IS NULL OR now.id IS NULL);
BEGIN
    IF to_jsonb(before) - untold = to_jsonb(wanted) - untold AND NOT members_changed THEN
        RETURN;
    END IF;
    IF gn_harvest.publication_filter(wanted, 's') IS NOT NULL THEN
        PERFORM gn_harvest.note_departures(before, format('(%s) IS NOT TRUE', gn_harvest.publication_filter(wanted, 's')));
    END IF;
    PERFORM gn_harvest.selection_changed(wanted.slug);
END
$$;
COMMENT ON FUNCTION gn_harvest.settle_options(gn_harvest.publication, gn_harvest.publication) IS 'What other options of a publication mean for its collectors.';

-- The owner of the views reads what they need of the extension: of departures only its own.
CREATE FUNCTION gn_harvest.publication_grants_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[
        format('GRANT SELECT ON gn_harvest.publication, gn_harvest.publication_scope, gn_harvest.departure, gn_harvest.metadata_change TO %I', p.owner),
        format('DROP POLICY IF EXISTS %I ON gn_harvest.departure', p.slug),
        format('CREATE POLICY %I ON gn_harvest.departure FOR SELECT TO %I USING (slug = %L)', p.slug, p.owner, p.slug)]
$$;
COMMENT ON FUNCTION gn_harvest.publication_grants_sql(gn_harvest.publication) IS 'The statements that let the owner of the views read what they need.';

-- By a trigger, as pg_dump leaves out policies on tables of an extension: a restore fills the table, and makes them anew.
CREATE FUNCTION gn_harvest.grant_publication() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
DECLARE
    statement text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = NEW.owner) THEN
        FOREACH statement IN ARRAY gn_harvest.publication_grants_sql(NEW) LOOP
            EXECUTE statement;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.grant_publication() IS 'Trigger: lets the owner of a publication read what its views need, also after a restore.';
CREATE TRIGGER grant_publication AFTER INSERT OR UPDATE OF published_at ON gn_harvest.publication
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.grant_publication();

CREATE FUNCTION gn_harvest.set_publication_exports(a_label text, observations integer, metadata integer, deletions integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept gn_harvest.publication := gn_harvest.publication_named(a_label);
BEGIN
    UPDATE gn_harvest.publication p
    SET observations_export = observations, metadata_export = metadata, deletions_export = deletions
    WHERE p.slug = kept.slug;
END
$$;
COMMENT ON FUNCTION gn_harvest.set_publication_exports(text, integer, integer, integer) IS 'Keeps the numbers of the exports of a publication: its marker tells them.';

CREATE FUNCTION gn_harvest.forget_publication(a_label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' SET client_min_messages = warning
AS $$
DECLARE
    gone      gn_harvest.publication := gn_harvest.publication_named(a_label);
    statement text;
BEGIN
    FOREACH statement IN ARRAY gn_harvest.publication_unwatch_sql(gone.slug)
        || ARRAY[format('DROP FUNCTION IF EXISTS gn_harvest.left_%s()', gone.slug), format('DROP POLICY IF EXISTS %I ON gn_harvest.departure', gone.slug)]
    LOOP
        EXECUTE statement;
    END LOOP;
    DELETE FROM gn_harvest.publication p WHERE p.slug = gone.slug;
    IF NOT EXISTS (SELECT FROM gn_harvest.publication p WHERE p.owner = gone.owner)
       AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = gone.owner AND NOT r.rolsuper) THEN
        EXECUTE format('REVOKE SELECT ON gn_harvest.publication, gn_harvest.publication_scope, gn_harvest.departure, gn_harvest.metadata_change FROM %I', gone.owner);
    END IF;
    IF NOT EXISTS (SELECT FROM gn_harvest.publication) THEN
        FOREACH statement IN ARRAY coalesce(gn_harvest.metadata_unwatch_sql(), '{}') || 'DROP INDEX IF EXISTS gn_synthese.gn_harvest_derniere_action'::text LOOP
            EXECUTE statement;
        END LOOP;
        DELETE FROM gn_harvest.metadata_change;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.forget_publication(text) IS 'The part of unpublish_export that takes the rights of the extension.';
