"""Algorithms that can be named in the configuration."""

from __future__ import annotations

from enum import StrEnum


class MacAlgorithm(StrEnum):
    """How a shared secret protects messages: PasswordBasedMac (RFC 9810 5.1.3.1) or PBMAC1 (RFC 9481 6.1.2)."""

    PBM = "pbm"
    PBMAC1 = "pbmac1"


class HashName(StrEnum):
    """One-way functions of PasswordBasedMac and PBMAC1."""

    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class HmacName(StrEnum):
    """Message authentication codes; ``hmac-sha1-ietf`` is the same code under its other OID (1.3.6.1.5.5.8.1.2)."""

    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA1_IETF = "hmac-sha1-ietf"
    HMAC_SHA224 = "hmac-sha224"
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA384 = "hmac-sha384"
    HMAC_SHA512 = "hmac-sha512"


class KeyAlgorithm(StrEnum):
    """Keys we can make; those of 1024 bits for profile ``backhaul`` only."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    X25519 = "x25519"
    RSA_1024 = "rsa-1024"
    DSA_1024 = "dsa-1024"


class KeyUsage(StrEnum):
    """What a key is certified for (keyUsage, RFC 5280 4.2.1.3)."""

    SIGNATURE = "signature"
    ENCIPHERMENT = "encipherment"
    AGREEMENT = "agreement"


class ExtendedKeyUsage(StrEnum):
    """Purposes a certificate can name (extKeyUsage, RFC 5280 4.2.1.12, RFC 4945 5.1.3.12)."""

    SERVER_AUTH = "server-auth"
    CLIENT_AUTH = "client-auth"
    IPSEC_IKE = "ipsec-ike"
    IKE_INTERMEDIATE = "ike-intermediate"


class SignatureName(StrEnum):
    """Signature algorithms (RFC 9481 section 3, RFC 9881); those with MD5, SHA-1 or DSA for ``backhaul`` only."""

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    ECDSA_SHA512 = "ecdsa-sha512"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    RSA_PKCS1_SHA1 = "rsa-pkcs1-sha1"
    RSA_PKCS1_MD5 = "rsa-pkcs1-md5"
    ECDSA_SHA1 = "ecdsa-sha1"
    DSA_SHA1 = "dsa-sha1"
