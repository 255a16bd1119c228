-- Column (h) is (d) - (e) + (g).
SELECT trade_id, lot_id, slice FROM core.disposals WHERE gain_usd <> proceeds_usd - basis_usd + adjustment_usd;
