-- Dead letters: discard_rejected (retry_rejected is a run: see run_api.sql).

CREATE FUNCTION gn_harvest.discard_rejected(name text, reason text DEFAULT NULL, before timestamptz DEFAULT NULL, ids bigint[] DEFAULT NULL, note text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    concerned gn_harvest.source := gn_harvest.managed_source(name);
    discarded bigint;
BEGIN
    IF reason IS NOT NULL THEN
        PERFORM gn_harvest.check_choice('reason', reason, gn_harvest.rejection_reasons());
    END IF;
    UPDATE gn_harvest.rejected r
    SET discarded_at = now(), discarded_by = gn_harvest.caller(), discard_note = note
    WHERE r.source_id = concerned.id
      AND r.discarded_at IS NULL
      AND (discard_rejected.reason IS NULL OR r.reason = discard_rejected.reason)
      AND (before IS NULL OR r.last_seen < before)
      AND (ids IS NULL OR r.id = ANY (ids));
    GET DIAGNOSTICS discarded = ROW_COUNT;
    RETURN discarded;
END
$$;
COMMENT ON FUNCTION gn_harvest.discard_rejected(text, text, timestamptz, bigint[], text) IS 'Gives rejected records up (all of a source, or by reason, age, id), with who, when and why; returns how many. They come back if the source changes them.';
