"""The program that knows when. It never imports cryptography, an ASN.1 parser or the network."""
