-- Which prices, dividends and sources look wrong though no broker contradicts the ledger?
SELECT account_id AS source, security_id AS what, text FROM core.alerts
UNION ALL
SELECT source, kind, reason FROM core.source_status WHERE NOT is_sound
UNION ALL
SELECT source, kind, warning FROM core.source_status WHERE warning <> '';
