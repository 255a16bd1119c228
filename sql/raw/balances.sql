-- What else the brokers say of their accounts (equity, buying power, ...), append-only: every delivery is kept whole.
-- Grain: delivery_id, line
-- delivery_id   the delivery that first brought this row
-- line          line in the delivery
-- source        the account or price source that it came from
-- payload       the row as it came, as JSON
-- payload_hash  digest of the payload
CREATE TABLE raw.balances (
    delivery_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    payload JSON NOT NULL,
    payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (delivery_id, line)
);
