-- When this warehouse was made or brought up to date, and to what.
-- Grain: built_at
-- built_at   UTC
-- sql_hash   digest of the files of sql/
-- migration  number of the last file of sql/migrations that it holds
CREATE TABLE ledger.builds (
    built_at TIMESTAMP NOT NULL,
    sql_hash VARCHAR NOT NULL,
    migration INTEGER NOT NULL
);
