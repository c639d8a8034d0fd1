"""Best practices, checked on any network: the doctor and its rules."""
