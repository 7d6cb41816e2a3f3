"""The state on disk: what survives a power cut at any instant. Bytes in, bytes out; knows no cryptography."""
