"""How messages travel: CMP over HTTP (RFC 9811) and nothing about what they say."""
