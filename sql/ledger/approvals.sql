-- What a person said of a decision. It binds to the digest of its lines: a decision with other lines was not approved.
-- Grain: batch_id
-- batch_id    the decision
-- batch_hash  digest of the lines that the person saw
-- verdict     accepted, refused, or edited: another batch replaces it
-- note        the person's words
-- said_at     UTC
CREATE TABLE ledger.approvals (
    batch_id VARCHAR PRIMARY KEY,
    batch_hash VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    said_at TIMESTAMP NOT NULL
);
