"""The crops that boards kept, in one place: Parquet shards in a folder, or in any store that fsspec knows."""
