-- Counts of what is held, kept up to date by the statements that change it, so that views never scan. A statement adds
-- what it changed, aggregated; it never touches a row that is there, so that runs neither wait for each other nor lock
-- each other out. fold_tally puts the additions of a source together. Not dumped: a restore counts as it fills.

CREATE TABLE gn_harvest.taxon_tally (
    source_id    integer NOT NULL,
    cd_nom       integer NOT NULL,
    observations integer NOT NULL
);
CREATE INDEX taxon_tally_idx ON gn_harvest.taxon_tally (source_id, cd_nom);
COMMENT ON TABLE gn_harvest.taxon_tally IS 'Observations of each source by taxon: the sum of the rows of a source and cd_nom.';

CREATE TABLE gn_harvest.dataset_tally (
    source_id    integer NOT NULL,
    id_dataset   integer NOT NULL,
    observations integer NOT NULL
);
CREATE INDEX dataset_tally_idx ON gn_harvest.dataset_tally (source_id, id_dataset);
COMMENT ON TABLE gn_harvest.dataset_tally IS 'Observations of each source by dataset of the target: the sum of the rows of a source and id_dataset.';

CREATE TABLE gn_harvest.rejected_tally (
    source_id integer NOT NULL,
    reason    text    NOT NULL,
    records   integer NOT NULL
);
CREATE INDEX rejected_tally_idx ON gn_harvest.rejected_tally (source_id, reason);
COMMENT ON TABLE gn_harvest.rejected_tally IS 'Rejected records that wait, of each source by reason: the sum of the rows of a source and reason.';

CREATE TABLE gn_harvest.taxon (
    cd_nom integer PRIMARY KEY,
    cd_ref integer NOT NULL
);
COMMENT ON TABLE gn_harvest.taxon IS 'The valid name (cd_ref) of each cd_nom that was harvested, as taxonomie.taxref had it at the end of the last run that met it.';

-- The three operations differ only in which rows went and which came.
CREATE FUNCTION gn_harvest.changed_rows(operation text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE operation WHEN 'INSERT' THEN 'SELECT came.*, 1 AS n FROM came'
                          WHEN 'DELETE' THEN 'SELECT gone.*, -1 AS n FROM gone'
                          ELSE 'SELECT came.*, 1 AS n FROM came UNION ALL SELECT gone.*, -1 FROM gone' END
$$;
COMMENT ON FUNCTION gn_harvest.changed_rows(text) IS 'The query of the rows that a statement changed, for its triggers.';

CREATE FUNCTION gn_harvest.tally_observations() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM gn_harvest.taxon_tally;
        DELETE FROM gn_harvest.dataset_tally;
        RETURN NULL;
    END IF;
    EXECUTE format(
        'WITH changed AS MATERIALIZED (
             SELECT c.source_id, c.cd_nom, c.id_dataset, sum(c.n) AS n
             FROM (%s) c
             WHERE c.id_synthese IS NOT NULL
             GROUP BY c.source_id, c.cd_nom, c.id_dataset HAVING sum(c.n) <> 0),
         by_dataset AS (
             INSERT INTO gn_harvest.dataset_tally (source_id, id_dataset, observations)
             SELECT c.source_id, c.id_dataset, sum(c.n) FROM changed c WHERE c.id_dataset IS NOT NULL
             GROUP BY c.source_id, c.id_dataset HAVING sum(c.n) <> 0)
         INSERT INTO gn_harvest.taxon_tally (source_id, cd_nom, observations)
         SELECT c.source_id, c.cd_nom, sum(c.n) FROM changed c WHERE c.cd_nom IS NOT NULL
         GROUP BY c.source_id, c.cd_nom HAVING sum(c.n) <> 0',
        gn_harvest.changed_rows(TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.tally_observations() IS 'Trigger: counts what a statement changed in the lineage.';

CREATE TRIGGER tally_inserted AFTER INSERT ON gn_harvest.harvested
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();
CREATE TRIGGER tally_updated AFTER UPDATE ON gn_harvest.harvested
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();
CREATE TRIGGER tally_deleted AFTER DELETE ON gn_harvest.harvested
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();
CREATE TRIGGER tally_truncated AFTER TRUNCATE ON gn_harvest.harvested
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();

CREATE FUNCTION gn_harvest.tally_rejected() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM gn_harvest.rejected_tally;
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO gn_harvest.rejected_tally (source_id, reason, records)
         SELECT c.source_id, c.reason, sum(c.n)
         FROM (%s) c
         WHERE c.discarded_at IS NULL
         GROUP BY c.source_id, c.reason
         HAVING sum(c.n) <> 0',
        gn_harvest.changed_rows(TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.tally_rejected() IS 'Trigger: counts what a statement changed among the rejected records.';

CREATE TRIGGER tally_inserted AFTER INSERT ON gn_harvest.rejected
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();
CREATE TRIGGER tally_updated AFTER UPDATE ON gn_harvest.rejected
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();
CREATE TRIGGER tally_deleted AFTER DELETE ON gn_harvest.rejected
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();
CREATE TRIGGER tally_truncated AFTER TRUNCATE ON gn_harvest.rejected
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();

-- Only what was added several times is touched: the rest stays as it is. Whoever comes while another folds leaves it to him.
CREATE FUNCTION gn_harvest.fold_tally(folded integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tally record;
BEGIN
    IF NOT pg_try_advisory_xact_lock('gn_harvest.taxon_tally'::regclass::oid::integer, folded) THEN
        RETURN;
    END IF;
    FOR tally IN
        SELECT * FROM (VALUES ('taxon_tally', 'cd_nom', 'observations'), ('dataset_tally', 'id_dataset', 'observations'),
                              ('rejected_tally', 'reason', 'records')) t(name, counted, number)
    LOOP
        EXECUTE format(
            'WITH several AS (
                 SELECT t.%2$I, sum(t.%3$I) AS n FROM gn_harvest.%1$I t WHERE t.source_id = $1
                 GROUP BY t.%2$I HAVING count(*) > 1 OR sum(t.%3$I) = 0),
             removed AS (
                 DELETE FROM gn_harvest.%1$I t USING several s WHERE t.source_id = $1 AND t.%2$I = s.%2$I)
             INSERT INTO gn_harvest.%1$I (source_id, %2$I, %3$I)
             SELECT $1, s.%2$I, s.n FROM several s WHERE s.n <> 0',
            tally.name, tally.counted, tally.number)
        USING folded;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.fold_tally(integer) IS 'Puts together what statements have added to the counts of a source, so that they stay short.';

-- For what the lineage can not know: a new version of Taxref that changed observations in the target, counts of a version
-- of the extension that did not keep them. With the caller's rights.
CREATE FUNCTION gn_harvest.recount() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE gn_harvest.harvested, gn_harvest.rejected IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'gn_synthese' AND c.relname = 'synthese' AND c.relkind = 'r') THEN
        UPDATE gn_harvest.harvested h SET cd_nom = s.cd_nom, id_dataset = s.id_dataset
        FROM ONLY gn_synthese.synthese s
        WHERE s.id_synthese = h.id_synthese
          -- Rows of sources whose target is records are numbers of another table.
          AND NOT h.source_id IN (SELECT r.id FROM gn_harvest.source r WHERE r.target = 'records'
                                  UNION ALL SELECT f.source_id FROM gn_harvest.former_source f WHERE f.target = 'records')
          AND (s.cd_nom, s.id_dataset) IS DISTINCT FROM (h.cd_nom, h.id_dataset);
    END IF;
    DELETE FROM gn_harvest.taxon_tally;
    INSERT INTO gn_harvest.taxon_tally (source_id, cd_nom, observations)
    SELECT h.source_id, h.cd_nom, count(*) FROM gn_harvest.harvested h
    WHERE h.id_synthese IS NOT NULL AND h.cd_nom IS NOT NULL GROUP BY h.source_id, h.cd_nom;
    DELETE FROM gn_harvest.dataset_tally;
    INSERT INTO gn_harvest.dataset_tally (source_id, id_dataset, observations)
    SELECT h.source_id, h.id_dataset, count(*) FROM gn_harvest.harvested h
    WHERE h.id_synthese IS NOT NULL AND h.id_dataset IS NOT NULL GROUP BY h.source_id, h.id_dataset;
    DELETE FROM gn_harvest.rejected_tally;
    INSERT INTO gn_harvest.rejected_tally (source_id, reason, records)
    SELECT r.source_id, r.reason, count(*) FROM gn_harvest.rejected r WHERE r.discarded_at IS NULL GROUP BY r.source_id, r.reason;
END
$$;
COMMENT ON FUNCTION gn_harvest.recount() IS 'Counts taxa, datasets and rejected records anew from what is held, for instance after an update of Taxref in the target. For superusers; runs wait for it.';
