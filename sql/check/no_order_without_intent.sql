-- Nothing was filled that was not decided and stored first.
SELECT e.client_order_id FROM ledger.order_events AS e ANTI JOIN ledger.intents AS i USING (client_order_id);
