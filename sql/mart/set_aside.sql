-- Rows that could not be used, with the reason, whether they failed on arrival or in the books.
-- Grain: delivery_id, line, reason
-- source       account, bank or price source
-- kind         activities, positions, bank_lines, prices or securities
-- delivery_id  the delivery that first brought it
-- line         its line in the latest delivery
-- reason       what was wrong and what was expected
-- payload      the row as it came
CREATE OR REPLACE VIEW mart.set_aside AS
SELECT source, kind, delivery_id, line, reason, payload FROM core.set_aside
UNION ALL
SELECT a.account_id, 'activities', a.delivery_id, a.line, u.reason, a.payload
FROM core.unbooked AS u
JOIN stg.activities AS a USING (transaction_id)
QUALIFY row_number() OVER (PARTITION BY u.transaction_id ORDER BY a.delivery_id DESC) = 1;
