-- What has harvesting brought so far, of that what is owed back, what did it cost, and how do I stand beside a twin that held on?
SELECT year, harvests, loss_usd, saved_usd, used_usd, given_back_usd, deferred_usd, permanent_usd, cost_usd, tracking_usd, growth_usd, alpha_usd FROM mart.tax_alpha WHERE month = 0;
