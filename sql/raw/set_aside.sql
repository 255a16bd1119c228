-- Rows that could not be used, beside the good ones: nothing is lost, nothing is changed.
-- Grain: delivery_id, line, reason
-- delivery_id  the delivery that brought the row
-- kind         activities, positions, bank_lines, prices or securities
-- source       the account, bank or price source that it came from
-- line         line in the delivery
-- payload      the row as it came, as JSON
-- reason       what was wrong and what was expected
-- known_at     when we judged it, UTC
CREATE TABLE raw.set_aside (
    delivery_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    payload JSON NOT NULL,
    reason VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL
);
