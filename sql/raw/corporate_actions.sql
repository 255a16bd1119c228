-- Splits, dividends and what else companies do, as the market's feed delivered them, append-only; a row delivered again unchanged is not kept twice.
-- Grain: delivery_id, line
-- delivery_id   the delivery that first brought this row
-- line          line in the delivery
-- source        the account or price source that it came from
-- payload       the row as it came, as JSON
-- payload_hash  digest of the payload
CREATE TABLE raw.corporate_actions (
    delivery_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    payload JSON NOT NULL,
    payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (delivery_id, line)
);
