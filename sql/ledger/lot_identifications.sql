-- Lots identified for a sale, and when: the law asks for the record (Treas. Reg. 1.1012-1(c), (j)).
-- Grain: client_order_id
-- client_order_id  the sale
-- lots             LOT:QTY;LOT:QTY
-- identified_at    when the broker was told, UTC
-- confirmed_by     what the broker confirmed it with
-- how              order: the lots went with it; after trade: the broker was told after the fill
-- deadline_at      until when it could be told: settlement at the latest, or the broker's own cut-off, UTC
CREATE TABLE ledger.lot_identifications (
    client_order_id VARCHAR PRIMARY KEY,
    lots VARCHAR NOT NULL,
    identified_at TIMESTAMP NOT NULL,
    confirmed_by VARCHAR NOT NULL,
    how VARCHAR NOT NULL,
    deadline_at TIMESTAMP
);
