"""Risk of today's holdings by historical simulation: what these weights would have gone through.

The household's own past is full of deposits and purchases; what a person wants to know is what the holdings of
tonight can do. So tonight's weights are held fixed and carried through the last sessions.
"""

import numpy as np

SESSIONS_A_YEAR = 252


def portfolio_returns(prices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Daily simple returns of fixed weights.

    Shape    prices (sessions, securities), weights (securities,); out (sessions - 1,). Cash is the weight missing to 1.

    >>> portfolio_returns(np.array([[100.0, 50.0], [110.0, 50.0]]), np.array([0.5, 0.5])).round(6).tolist()
    [0.05]
    """
    return (prices[1:] / prices[:-1] - 1) @ weights


def volatility(returns: np.ndarray) -> float:
    """Annualised standard deviation of daily returns, with n - 1.

    >>> round(volatility(np.array([0.01, -0.01, 0.01, -0.01])), 6)
    0.183303
    """
    return float(np.std(returns, ddof=1) * np.sqrt(SESSIONS_A_YEAR))


def historical_var(returns: np.ndarray, confidence: float) -> float:
    """Loss of one day that is passed on (1 - confidence) of the days, as a positive fraction.

    Rows     the empirical quantile, linear between order statistics.

    >>> round(historical_var(np.linspace(-0.10, 0.10, 201), 0.95), 6)
    0.09
    """
    return float(-np.quantile(returns, 1 - confidence))


def sharpe_ratio(returns: np.ndarray, risk_free_rate: float) -> float:
    """Annualised mean excess return by annualised volatility; zero for returns that do not move.

    >>> round(sharpe_ratio(np.array([0.01, 0.00, 0.01, 0.00]), 0.0), 4)
    13.7477
    """
    moves = volatility(returns)
    return float((np.mean(returns) * SESSIONS_A_YEAR - risk_free_rate) / moves) if moves else 0.0


def drawdown(returns: np.ndarray) -> float:
    """How far the value lies below its highest point so far, at the end, as a positive fraction.

    >>> round(drawdown(np.array([0.10, -0.20, 0.05])), 6)
    0.16
    """
    value = np.concatenate(([1.0], np.cumprod(1 + returns)))
    return float(1 - value[-1] / value.max())


def max_drawdown(returns: np.ndarray) -> float:
    """The deepest fall below an earlier high, as a positive fraction.

    >>> round(max_drawdown(np.array([0.10, -0.20, 0.05])), 6)
    0.2
    """
    value = np.concatenate(([1.0], np.cumprod(1 + returns)))
    return float((1 - value / np.maximum.accumulate(value)).max())


def correlation_and_beta(sold: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Correlation of two return series, and the slope of `other` on `sold`.

    >>> x = np.array([0.01, -0.02, 0.03, 0.00])
    >>> tuple(round(figure, 6) for figure in correlation_and_beta(x, 2 * x))
    (1.0, 2.0)
    """
    spread = np.cov(sold, other)
    scale = np.sqrt(spread[0, 0] * spread[1, 1])
    if not scale:
        return 0.0, 0.0
    return float(spread[0, 1] / scale), float(spread[0, 1] / spread[0, 0])
