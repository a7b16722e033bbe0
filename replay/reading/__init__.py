"""Packed files as chunks of text columns, in bounded memory.

format         what an adapter is: Format, Chunk, Converted; conversions of text columns
packed_files   decompression and whole lines; whether a file is cut off
delimited      CSV and other delimited files
lines          one record per line (JSON), parsed by the format
parquet        Parquet files by row groups
time_order     whether a file's times ascend, judged by their texts alone

May import: no room of replay.
"""
