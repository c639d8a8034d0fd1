"""Image files on disk become an audited, split set. In: folders, tables, archives. Out: ImageSet, Audit, Split."""
