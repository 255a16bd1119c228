-- The business year by line of Schedule C.
-- Grain: year, schedule_c_line
-- year             tax year
-- schedule_c_line  line of the form; empty: lines that wait for a look, and personal ones
-- category         category
-- lines            bank lines
-- amount_usd       money in (positive) or out, USD
-- deductible_usd   amount that counts on the line, USD
CREATE OR REPLACE VIEW mart.schedule_c AS
SELECT year(posted_on) AS year, schedule_c_line, category, count(*) AS lines, sum(amount_usd)::DECIMAL(28, 6) AS amount_usd,
    sum(deductible_usd)::DECIMAL(28, 6) AS deductible_usd
FROM core.expenses
GROUP BY 1, 2, 3
ORDER BY 1, lpad(schedule_c_line, 4, '0'), 3;
