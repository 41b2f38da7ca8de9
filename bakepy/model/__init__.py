"""Frozen values that every room shares. Import from the modules; there is nothing here."""
