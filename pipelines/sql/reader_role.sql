-- The role that flakelag reads the fleet database with: it may read what is read, and nothing else.
--
-- Run it in the fleet database as a superuser, or as an owner of its tables who may also make roles
-- (CREATEROLE). An owner who may not asks somebody who may for the role, and then runs it:
--   CREATE ROLE flakelag_reader LOGIN NOINHERIT CONNECTION LIMIT 5;
--   ALTER ROLE flakelag_reader SET default_transaction_read_only = on;
-- It may be run again, for example after an update of Crystal Forge has added a table. Then give the
-- role a way to log in, such as `\password flakelag_reader` in psql (which keeps the password out of
-- the server's log and of psql's history), and put the URL in FLEET_DATABASE_URL.
--
-- SELECT is granted on whole tables, not on columns, because `LOCK TABLE ... IN ACCESS SHARE MODE`
-- asks for no less; without that lock, a table that is truncated or rewritten between two reads
-- would look empty, and every system would seem to be gone.
--
-- What it does not take away, because PostgreSQL grants it to everybody and others may need it: the
-- role can make temporary tables and large objects, which fill a disk but reach no data. Where
-- nobody needs them, revoke them as a superuser:
--   REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC;
--   REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea)
--   FROM PUBLIC;
-- Up to PostgreSQL 14 everybody may also create tables in schema public: if that is so in your
-- database, consider `REVOKE CREATE ON SCHEMA public FROM PUBLIC`.

DO $$
DECLARE
    source_table text;
    may_make_roles boolean;
BEGIN
    -- Until the end of the transaction. Whoever may create in a schema of the session's search path
    -- could otherwise lend us a function of theirs, and have it run as a superuser.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    SELECT rolsuper OR rolcreaterole INTO STRICT may_make_roles
    FROM pg_catalog.pg_roles WHERE rolname = current_user;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'flakelag_reader') THEN
        IF NOT may_make_roles THEN
            RAISE EXCEPTION 'Role % may not make the role flakelag_reader.', current_user
                USING HINT = 'Ask somebody who may; the top of this script says how.';
        END IF;
        CREATE ROLE flakelag_reader LOGIN
            NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS
            CONNECTION LIMIT 5;
    END IF;

    -- Not a safeguard by itself, as a session can turn it off again, but it stops a slip of the
    -- hand. The privileges below are what keeps the role from writing.
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles
        WHERE rolname = 'flakelag_reader' AND 'default_transaction_read_only=on' = ANY (rolconfig)
    ) THEN
        BEGIN
            ALTER ROLE flakelag_reader SET default_transaction_read_only = on;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING 'Role % may not set default_transaction_read_only for flakelag_reader.',
                current_user;
        END;
    END IF;

    IF NOT pg_catalog.has_database_privilege(
        'flakelag_reader', pg_catalog.current_database(), 'CONNECT'
    ) THEN
        EXECUTE pg_catalog.format(
            'GRANT CONNECT ON DATABASE %I TO flakelag_reader', pg_catalog.current_database()
        );
    END IF;
    IF NOT pg_catalog.has_schema_privilege('flakelag_reader', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO flakelag_reader;
    END IF;

    GRANT SELECT ON
        public.flakes,
        public.commits,
        public.derivations,
        public.systems,
        public.system_states
    TO flakelag_reader;

    -- Tables that not every fleet has. Where one is missing or not granted, the columns that come
    -- from it are null: build results from derivation_statuses, environments from environments,
    -- places on the branch from flake_branch_commit_snapshot, what is in a cache from
    -- cache_push_jobs, and when a host was last seen from agent_heartbeats.
    FOREACH source_table IN ARRAY ARRAY[
        'derivation_statuses',
        'environments',
        'flake_branch_commit_snapshot',
        'cache_push_jobs',
        'agent_heartbeats'
    ] LOOP
        IF pg_catalog.to_regclass(pg_catalog.concat('public.', source_table)) IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT SELECT ON public.%I TO flakelag_reader', source_table);
        END IF;
    END LOOP;
END
$$;
