-- Which securities are one, by tier of likeness; a security that is not here is its own.
-- Grain: security_id, tier
-- security_id  security
-- group_id     its group
-- tier         identical: the books match in it; same index: a harvest is kept clear of it, the books do not match in it
CREATE OR REPLACE TABLE core.identical (
    security_id VARCHAR NOT NULL,
    group_id VARCHAR NOT NULL,
    tier VARCHAR NOT NULL
);
