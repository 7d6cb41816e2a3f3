"""CMP for an end entity (RFC 9810, 9483, 4211), sans-I/O: bytes in, bytes out, time and randomness as arguments."""
