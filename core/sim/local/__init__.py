"""An exchange on this machine: accounts, orders and matching as Binance USD-M has them, without any network."""
