-- Lines of a decision that a gate held back, every refusal of every gate.
-- Grain: batch_id, line, gate
-- batch_id    the decision
-- line        its line
-- gate        the gate's name
-- reason      what it saw and what the limit is
-- refused_at  UTC
CREATE TABLE ledger.refusals (
    batch_id VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    gate VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    refused_at TIMESTAMP NOT NULL,
    PRIMARY KEY (batch_id, line, gate)
);
