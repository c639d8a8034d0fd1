"""Ten exercises for courses: a starter file, automatic checks, and a solution that is shown on request."""
