-- Two indexes that the fleet database does not have, and that would suit the statements best: each
-- holds every column that is read, in the order in which it is sorted.
CREATE INDEX ON system_states (hostname, timestamp, id) INCLUDE (store_path);
CREATE INDEX ON commits (flake_id, commit_timestamp, id) INCLUDE (git_commit_hash);
