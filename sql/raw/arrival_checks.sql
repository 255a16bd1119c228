-- What Great Expectations said of each delivery: does it look like the earlier ones?
-- Grain: delivery_id, expectation
-- delivery_id  the delivery that was looked at
-- expectation  what was expected, in words
-- is_met       false: the source counts as unsound for the day
-- observed     what was found
-- known_at     UTC
CREATE TABLE raw.arrival_checks (
    delivery_id VARCHAR NOT NULL,
    expectation VARCHAR NOT NULL,
    is_met BOOLEAN NOT NULL,
    observed VARCHAR NOT NULL,
    known_at TIMESTAMP NOT NULL
);
