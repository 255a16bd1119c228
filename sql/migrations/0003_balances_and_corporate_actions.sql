-- What brokers say of an account besides its positions, and what companies do to their shares, as the feeds deliver them.
CREATE TABLE IF NOT EXISTS raw.balances (
    delivery_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    payload JSON NOT NULL,
    payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (delivery_id, line)
);
CREATE TABLE IF NOT EXISTS raw.corporate_actions (
    delivery_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    payload JSON NOT NULL,
    payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (delivery_id, line)
);
