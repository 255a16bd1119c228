-- Rows of the latest deliveries that cannot be used, judged anew in every run: a row that is mended, or whose day has come, is used.
-- Grain: source, kind, line
-- delivery_id  the delivery that first brought the row
-- raw_line     its line there
-- kind         activities, positions, bank_lines or prices
-- source       the account, bank or price source that it came from
-- line         its line in the latest delivery
-- payload      the row as it came, as JSON
-- reason       what was wrong and what was expected
CREATE OR REPLACE TABLE core.set_aside (
    delivery_id VARCHAR NOT NULL,
    raw_line BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    payload VARCHAR NOT NULL,
    reason VARCHAR NOT NULL
);
