-- Decisions. The first batch stored for an account, session, kind and sequence is the decision; reruns load it.
-- Grain: batch_id
-- batch_id    session, account, kind and sequence in one word
-- account_id  account
-- session_on  the session in which it may be executed
-- expires_at  when it may no longer be, UTC: the close of that session
-- as_of       the session whose close it was decided on
-- kind        daily, intraday, or hand: a person's own orders
-- sequence    1, 2, ...
-- batch_hash  digest of its lines: what an approval binds to
-- mode        dry_run: shown, never sent; approve: sent when a person has said yes; auto: sent within the gates
-- replaces    the batch that it is an edit of; empty: none
-- run_id      the run that decided
-- decided_at  UTC
CREATE TABLE ledger.batches (
    batch_id VARCHAR PRIMARY KEY,
    account_id VARCHAR NOT NULL,
    session_on DATE NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    as_of DATE NOT NULL,
    kind VARCHAR NOT NULL,
    sequence INTEGER NOT NULL,
    batch_hash VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    replaces VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    UNIQUE (account_id, session_on, kind, sequence)
);
