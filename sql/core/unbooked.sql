-- Transactions that the books cannot take, and why; they are tried again in every run.
-- Grain: transaction_id
-- transaction_id  the transaction
-- reason          what is wrong and what was expected
CREATE OR REPLACE TABLE core.unbooked (
    transaction_id VARCHAR NOT NULL,
    reason VARCHAR NOT NULL
);
