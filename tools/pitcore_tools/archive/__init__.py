"""Collects the crops that boards kept: Parquet shards in a folder, or in any store that fsspec supports."""
