-- Every bank line with its place on Schedule C.
-- Grain: bank_id, bank_line_id
-- bank_id          bank account
-- bank_line_id     the bank's own id
-- posted_on        posting date
-- description      the bank's words
-- amount_usd       USD, positive into the account
-- category         by the rules of portfolio.toml; review: no rule matched; personal: not business
-- schedule_c_line  line of the form; empty if none
-- deductible_usd   amount that counts on the line, USD, positive
CREATE OR REPLACE TABLE core.expenses (
    bank_id VARCHAR NOT NULL,
    bank_line_id VARCHAR NOT NULL,
    posted_on DATE NOT NULL,
    description VARCHAR NOT NULL,
    amount_usd DECIMAL(28, 6) NOT NULL,
    category VARCHAR NOT NULL,
    schedule_c_line VARCHAR NOT NULL,
    deductible_usd DECIMAL(28, 6) NOT NULL
);
