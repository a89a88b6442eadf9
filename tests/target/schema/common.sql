-- What all schemas share: extensions, and the trigger that dates rows.

CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm     SCHEMA public;
CREATE EXTENSION IF NOT EXISTS hstore      SCHEMA public;
CREATE EXTENSION IF NOT EXISTS postgis     SCHEMA public;

-- A client cannot choose the date of creation, nor the date of update of a row that it
-- updates; the date of update that it sends with an INSERT is kept.
CREATE FUNCTION public.fct_trg_meta_dates_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.meta_create_date := now();
    ELSE
        NEW.meta_update_date := now();
        NEW.meta_create_date := coalesce(NEW.meta_create_date, now());
    END IF;
    RETURN NEW;
END
$$;
