-- Every delivery that reached us, one row each, whether it was good or not.
-- Grain: delivery_id
-- delivery_id   a number that grows, source and kind
-- source        the account, bank or price source that it came from
-- kind          activities, positions, balances, bank_lines, prices, securities or corporate_actions
-- stated_on     the last day that the delivery speaks for, as its source says
-- row_count     rows delivered, those already known included
-- latest_on     the newest date inside the rows
-- columns       the column names as they came, separated by commas
-- payload_hash  digest of the whole delivery
-- received_at   UTC
CREATE TABLE raw.deliveries (
    delivery_id VARCHAR PRIMARY KEY,
    source VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    stated_on DATE,
    row_count BIGINT NOT NULL,
    latest_on DATE,
    columns VARCHAR NOT NULL,
    payload_hash VARCHAR NOT NULL,
    received_at TIMESTAMP NOT NULL
);
