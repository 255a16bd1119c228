-- Every run, a row for each stage that it reached; what it was made with, so that it can be replayed.
-- Grain: run_id, stage, as_of
-- run_id       the moment it started
-- stage        started, booked, decided, executed or failed
-- as_of        last completed session that it worked on
-- known_at     facts that reached us later were not used, UTC
-- reached_at   when the stage was reached, UTC
-- law_hash     digest of sql/law
-- policy_hash  digest of portfolio.toml
-- version      version of Thresher
CREATE TABLE ledger.runs (
    run_id VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    as_of DATE NOT NULL,
    known_at TIMESTAMP NOT NULL,
    reached_at TIMESTAMP NOT NULL,
    law_hash VARCHAR NOT NULL,
    policy_hash VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    PRIMARY KEY (run_id, stage, as_of)
);
