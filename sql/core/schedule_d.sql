-- Schedule D of every year with disposals, by the form's lines.
-- Grain: year, line
-- year        tax year
-- line        line of the form
-- text        what the line says
-- amount_usd  USD, signed
CREATE OR REPLACE TABLE core.schedule_d (
    year BIGINT NOT NULL,
    line VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    amount_usd DECIMAL(28, 6) NOT NULL
);
