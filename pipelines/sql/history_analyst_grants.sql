-- Lets a role read the history, as it is and as it grows. Run by the role of HISTORY_DATABASE_URL:
--   PGSERVICE=history psql -v analyst=grafana -f history_analyst_grants.sql
GRANT USAGE ON SCHEMA flakelag TO :"analyst";
GRANT SELECT ON ALL TABLES IN SCHEMA flakelag TO :"analyst";
-- What a later version of flakelag adds or makes anew.
ALTER DEFAULT PRIVILEGES IN SCHEMA flakelag GRANT SELECT ON TABLES TO :"analyst";
