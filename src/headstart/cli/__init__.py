"""Thin faces over the verbs: parse, call one verb, show. No logic."""
