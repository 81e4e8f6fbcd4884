"""Export of stored killmails to files, a file for each day (UTC).

`read` gives a day's killmails from one state of the database, `ndjson` and `parquet` write them,
`schema` has the Arrow types, `day` makes a day's file, and `manifest` records which files are
whole.
Nothing else imports this package: pyarrow is large.
"""
