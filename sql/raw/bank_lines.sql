-- Lines of bank statements as the banks delivered them, append-only; a row delivered again unchanged is not kept twice.
-- Grain: delivery_id, line
-- delivery_id   the delivery that first brought this row
-- line          line in the delivery; the header of a file is line 1
-- source        the account, bank or price source that it came from
-- payload       the row as it came, as JSON
-- payload_hash  digest of the payload
CREATE TABLE raw.bank_lines (
    delivery_id VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    payload JSON NOT NULL,
    payload_hash VARCHAR NOT NULL,
    PRIMARY KEY (delivery_id, line)
);
