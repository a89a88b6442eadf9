-- Who may do what. Nothing is granted to PUBLIC.

CREATE FUNCTION gn_harvest.sees_everything(asking name) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = asking AND rolsuper)
        OR EXISTS (SELECT FROM gn_harvest.reader r JOIN pg_roles o ON o.rolname = r.role
                                                   JOIN pg_roles a ON a.rolname = asking
                   WHERE pg_has_role(a.oid, o.oid, 'MEMBER'))
$$;
COMMENT ON FUNCTION gn_harvest.sees_everything(name) IS 'Whether a role sees every source: a superuser or a reader.';
