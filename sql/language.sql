-- Words for people, in French and in English.

CREATE FUNCTION gn_harvest.in_french() RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(nullif(pg_catalog.current_setting('gn_harvest.language', true), ''),
                    pg_catalog.current_setting('lc_messages')) ILIKE 'fr%'
$$;
COMMENT ON FUNCTION gn_harvest.in_french() IS 'Whether people are spoken to in French: gn_harvest.language, by default lc_messages.';

CREATE FUNCTION gn_harvest.word(english text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN NOT gn_harvest.in_french() THEN pg_catalog.initcap(pg_catalog.left(english, 1)) || pg_catalog.substr(english, 2)
                ELSE CASE english
                    WHEN 'manual' THEN 'Manuelle'
                    WHEN 'active' THEN 'Actif'
                    WHEN 'not enabled' THEN 'Non activé'
                    WHEN 'not running' THEN 'Arrêté'
                    WHEN 'standby' THEN 'Serveur secondaire'
                    WHEN 'to be updated' THEN 'À mettre à jour'
                    WHEN 'template' THEN 'Modèle'
                    WHEN 'running' THEN 'En cours'
                    WHEN 'paused' THEN 'En pause'
                    WHEN 'never run' THEN 'Jamais lancée'
                    WHEN 'succeeded' THEN 'Réussie'
                    WHEN 'failed' THEN 'En échec'
                    WHEN 'cancelled' THEN 'Annulée'
                    WHEN 'interrupted' THEN 'Interrompue'
                    WHEN 'blocked' THEN 'Bloquée'
                    ELSE english END END
$$;
COMMENT ON FUNCTION gn_harvest.word(text) IS 'A word of the views in the language of who reads.';
