"""Account, positions and income as the venue words them in REST answers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from core.sim.local.values import AccountState, Bracket, IncomeState, Listing, MarginType, PositionState, SymbolConfig
from core.sim.server.options import KeyScope
from core.sim.server.shape_orders import ONE_WAY
from core.sim.server.wire import Json, money, price, text

ALIAS = "local"
FUNDED_TS = 1
"""When a wallet was funded that has not changed since: client libraries take 0 for an asset that is not in use."""


def is_open(position: PositionState) -> bool:
    """Whether there is a position; the venue's newer calls name only those."""
    return not position.qty.is_zero()


def account_v3(account: AccountState, positions: Sequence[PositionState]) -> Json:
    """The account with its open positions."""
    return {**_totals(account), "assets": [_asset(account)], "positions": [_held_v3(p) for p in positions if is_open(p)]}


def account_v2(account: AccountState, positions: Sequence[PositionState]) -> Json:
    """The account as it was told before: flags, and every symbol listed."""
    return {
        **account_config(account),
        **_totals(account),
        "assets": [{**_asset(account), "marginAvailable": True}],
        "positions": [_held_v2(position) for position in positions],
    }


def account_config(account: AccountState) -> Json:
    """What the account is allowed."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": account.dual_side,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def _totals(account: AccountState) -> Json:
    return {
        "totalInitialMargin": money(account.initial_margin),
        "totalMaintMargin": money(account.maintenance_margin),
        "totalWalletBalance": money(account.wallet),
        "totalUnrealizedProfit": money(account.unrealised),
        "totalMarginBalance": money(account.margin_balance),
        "totalPositionInitialMargin": money(account.position_initial_margin),
        "totalOpenOrderInitialMargin": money(account.open_order_initial_margin),
        "totalCrossWalletBalance": money(account.cross_wallet),
        "totalCrossUnPnl": money(account.cross_unrealised),
        "availableBalance": money(account.available),
        "maxWithdrawAmount": money(max(Decimal(0), account.available)),
    }


def _asset(account: AccountState) -> Json:
    return {
        "asset": account.asset,
        "walletBalance": money(account.wallet),
        "unrealizedProfit": money(account.unrealised),
        "marginBalance": money(account.margin_balance),
        "maintMargin": money(account.maintenance_margin),
        "initialMargin": money(account.initial_margin),
        "positionInitialMargin": money(account.position_initial_margin),
        "openOrderInitialMargin": money(account.open_order_initial_margin),
        "crossWalletBalance": money(account.cross_wallet),
        "crossUnPnl": money(account.cross_unrealised),
        "availableBalance": money(account.available),
        "maxWithdrawAmount": money(max(Decimal(0), account.available)),
        "updateTime": account.updated or FUNDED_TS,
    }


def _held_v3(position: PositionState) -> Json:
    return {
        "symbol": position.symbol,
        "positionSide": ONE_WAY,
        "positionAmt": text(position.qty),
        "unrealizedProfit": money(position.unrealised),
        "isolatedMargin": money(position.isolated_margin),
        "notional": text(position.notional),
        "isolatedWallet": money(position.isolated_wallet),
        "initialMargin": money(position.initial_margin + position.order_margin),
        "maintMargin": money(position.maintenance_margin),
        "updateTime": position.updated,
    }


def _held_v2(position: PositionState) -> Json:
    bid = position.notional if position.qty > 0 else Decimal(0)
    return {
        "symbol": position.symbol,
        "initialMargin": money(position.initial_margin + position.order_margin),
        "maintMargin": money(position.maintenance_margin),
        "unrealizedProfit": money(position.unrealised),
        "positionInitialMargin": money(position.initial_margin),
        "openOrderInitialMargin": money(position.order_margin),
        "leverage": str(position.leverage),
        "isolated": position.margin_type is MarginType.ISOLATED,
        "entryPrice": price(position.entry_price),
        "breakEvenPrice": price(position.break_even_price),
        "maxNotional": "0",
        "bidNotional": text(bid),
        "askNotional": text(position.notional - bid),
        "positionSide": ONE_WAY,
        "positionAmt": text(position.qty),
        "notional": text(position.notional),
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated,
    }


def balance(account: AccountState) -> list[Json]:
    """The wallet."""
    return [
        {
            "accountAlias": ALIAS,
            "asset": account.asset,
            "balance": money(account.wallet),
            "crossWalletBalance": money(account.cross_wallet),
            "crossUnPnl": money(account.cross_unrealised),
            "availableBalance": money(account.available),
            "maxWithdrawAmount": money(max(Decimal(0), account.available)),
            "marginAvailable": True,
            "updateTime": account.updated or FUNDED_TS,
        }
    ]


def _risk(position: PositionState) -> Json:
    return {
        "symbol": position.symbol,
        "positionSide": ONE_WAY,
        "positionAmt": text(position.qty),
        "entryPrice": price(position.entry_price),
        "breakEvenPrice": price(position.break_even_price),
        "markPrice": text(position.mark_price),
        "unRealizedProfit": money(position.unrealised),
        "liquidationPrice": price(position.liquidation_price),
        "isolatedMargin": money(position.isolated_margin),
        "notional": text(position.notional),
        "isolatedWallet": money(position.isolated_wallet),
        "updateTime": position.updated,
    }


def risk_v3(position: PositionState, asset: str) -> Json:
    """A position; the newer call tells neither leverage nor margin type."""
    return {
        **_risk(position),
        "marginAsset": asset,
        "initialMargin": money(position.initial_margin + position.order_margin),
        "maintMargin": money(position.maintenance_margin),
        "positionInitialMargin": money(position.initial_margin),
        "openOrderInitialMargin": money(position.order_margin),
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
    }


def risk_v2(position: PositionState, config: SymbolConfig) -> Json:
    """A position as the older call tells it."""
    return {
        **_risk(position),
        "leverage": str(position.leverage),
        "maxNotionalValue": text(config.max_notional),
        "marginType": "isolated" if position.margin_type is MarginType.ISOLATED else "cross",
        "isAutoAddMargin": "false",
    }


def symbol_config(config: SymbolConfig) -> Json:
    """How the account trades a symbol."""
    return {
        "symbol": config.symbol,
        "marginType": config.margin_type.value,
        "isAutoAddMargin": False,
        "leverage": config.leverage,
        "maxNotionalValue": text(config.max_notional),
    }


def brackets(listing: Listing) -> Json:
    """Leverage brackets; here alone the venue tells amounts as numbers."""
    return {"symbol": listing.symbol, "notionalCoef": 1.0, "brackets": [_bracket(bracket) for bracket in listing.brackets]}


def _bracket(bracket: Bracket) -> Json:
    return {
        "bracket": bracket.number,
        "initialLeverage": bracket.max_leverage,
        "notionalCap": int(bracket.cap),
        "notionalFloor": int(bracket.floor),
        "maintMarginRatio": float(bracket.maintenance_rate),
        "cum": float(bracket.cum),
    }


def commission(listing: Listing) -> Json:
    """Fees of a symbol."""
    return {
        "symbol": listing.symbol,
        "makerCommissionRate": text(listing.maker_fee),
        "takerCommissionRate": text(listing.taker_fee),
    }


def income(change: IncomeState) -> Json:
    """A change of the wallet."""
    return {
        "symbol": change.symbol,
        "incomeType": change.kind,
        "income": money(change.amount),
        "asset": change.asset,
        "info": change.kind,
        "time": change.ts,
        "tranId": str(change.transfer_id),
        "tradeId": "" if change.trade_id is None else str(change.trade_id),
    }


def restrictions(scope: KeyScope) -> Json:
    """What the key may do (asked on the spot host)."""
    return {
        "ipRestrict": scope.ip_restricted,
        "createTime": 0,
        "enableReading": scope.reading,
        "enableFutures": scope.futures,
        "enableWithdrawals": scope.withdrawals,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableMargin": False,
        "enableSpotAndMarginTrading": False,
        "enableVanillaOptions": False,
        "enablePortfolioMarginTrading": False,
    }
