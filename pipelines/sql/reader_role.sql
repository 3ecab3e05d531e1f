-- The role that flakelag reads the fleet database with: it may read what is read, and nothing else.
--
-- Run it once in the fleet database as the owner of its tables, or as a superuser; it may be run
-- again, for example after an update of Crystal Forge has added a table. Then give the role a way to
-- log in, such as `\password flakelag_reader` in psql (which keeps the password out of the server's
-- log and of psql's history), and put the URL in FLEET_DATABASE_URL.
--
-- SELECT is granted on whole tables, not on columns, because `LOCK TABLE ... IN ACCESS SHARE MODE`
-- asks for no less; without that lock, a table that is truncated or rewritten between two reads
-- would look empty, and every system would seem to be gone.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'flakelag_reader') THEN
        CREATE ROLE flakelag_reader LOGIN
            NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS
            CONNECTION LIMIT 5;
    END IF;
END
$$;

-- Not a safeguard by itself, as a session can turn it off again, but it stops a slip of the hand.
-- The privileges below are what keeps the role from writing. Up to PostgreSQL 14 everybody may
-- create tables in schema public: if that is so in your database, consider
-- `REVOKE CREATE ON SCHEMA public FROM PUBLIC`.
ALTER ROLE flakelag_reader SET default_transaction_read_only = on;

DO $$
BEGIN
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO flakelag_reader', pg_catalog.current_database()
    );
END
$$;

GRANT USAGE ON SCHEMA public TO flakelag_reader;

GRANT SELECT ON
    public.flakes,
    public.commits,
    public.derivations,
    public.systems,
    public.system_states
TO flakelag_reader;

-- Tables that not every fleet has. Where one is missing or not granted, the columns that come from
-- it are null: build results from derivation_statuses, environments from environments.
DO $$
DECLARE
    optional_table text;
BEGIN
    FOREACH optional_table IN ARRAY ARRAY['derivation_statuses', 'environments'] LOOP
        IF pg_catalog.to_regclass('public.' || optional_table) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON public.%I TO flakelag_reader', optional_table);
        END IF;
    END LOOP;
END
$$;
