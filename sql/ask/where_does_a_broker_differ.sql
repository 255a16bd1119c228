-- Where does a broker say something else than the ledger, and why probably?
SELECT account_id, security_id, kind, broker_says, ledger_says, difference, unit, blocks, is_explained, guess FROM mart.breaks;
