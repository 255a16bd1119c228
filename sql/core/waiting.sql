-- Lines of a decision that are not sent yet, and what each waits for.
-- Grain: batch_id, line, gate
-- batch_id  the decision
-- line      its line
-- gate      what it waits for
-- reason    in words
CREATE OR REPLACE TABLE core.waiting (
    batch_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    gate VARCHAR NOT NULL,
    reason VARCHAR NOT NULL
);
