-- The day that the tables of core are of: the last completed session of the newest run.
-- Grain: one row
-- as_of   last completed session
-- run_id  the run
CREATE OR REPLACE VIEW mart.today AS
SELECT arg_max(as_of, (reached_at, as_of)) AS as_of, arg_max(run_id, (reached_at, as_of)) AS run_id
FROM ledger.runs
WHERE stage IN ('started', 'booked');
