"""The rules of the trade, checked on any network."""
