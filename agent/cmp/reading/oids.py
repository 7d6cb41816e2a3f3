"""Names of object identifiers, as their standards spell them. Algorithms come from :mod:`agent.cmp.algorithms`."""

from __future__ import annotations

from typing import Final

from agent.cmp import algorithms
from agent.cmp.protection import PASSWORD_BASED_MAC, PBKDF2, PBMAC1

_PKIX: Final = "1.3.6.1.5.5.7"
_PKCS: Final = "1.2.840.113549.1"
_NIST: Final = "2.16.840.1.101.3.4"

INFO_TYPES: Final = {
    f"{_PKIX}.4.{number}": name
    for number, name in {
        1: "caProtEncCert",
        2: "signKeyPairTypes",
        3: "encKeyPairTypes",
        4: "preferredSymmAlg",
        5: "caKeyUpdateInfo",
        6: "currentCRL",
        7: "unsupportedOIDs",
        10: "keyPairParamReq",
        11: "keyPairParamRep",
        12: "revPassphrase",
        13: "implicitConfirm",
        14: "confirmWaitTime",
        15: "origPKIMessage",
        16: "suppLangTags",
        17: "caCerts",
        18: "rootCaKeyUpdate",
        19: "certReqTemplate",
        20: "rootCaCert",
        21: "certProfile",
        22: "crlStatusList",
        23: "crls",
        24: "KemCiphertextInfo",
    }.items()
}
"""id-it (RFC 9810 5.3.19)."""

CONTROLS: Final = {
    **{
        f"{_PKIX}.5.1.{number}": name
        for number, name in {
            1: "regToken",
            2: "authenticator",
            3: "pkiPublicationInfo",
            4: "pkiArchiveOptions",
            5: "oldCertID",
            6: "protocolEncrKey",
            7: "altCertTemplate",
            11: "algId",
            12: "rsaKeyLen",
        }.items()
    },
    f"{_PKIX}.5.2.1": "utf8Pairs",
    f"{_PKIX}.5.2.2": "certReq",
}
"""id-regCtrl and id-regInfo (RFC 4211 sections 6 and 7)."""

EXTENSIONS: Final = {
    **{
        f"2.5.29.{number}": name
        for number, name in {
            9: "subjectDirectoryAttributes",
            14: "subjectKeyIdentifier",
            15: "keyUsage",
            16: "privateKeyUsagePeriod",
            17: "subjectAltName",
            18: "issuerAltName",
            19: "basicConstraints",
            20: "cRLNumber",
            21: "cRLReason",
            23: "holdInstructionCode",
            24: "invalidityDate",
            27: "deltaCRLIndicator",
            28: "issuingDistributionPoint",
            29: "certificateIssuer",
            30: "nameConstraints",
            31: "cRLDistributionPoints",
            32: "certificatePolicies",
            33: "policyMappings",
            35: "authorityKeyIdentifier",
            36: "policyConstraints",
            37: "extKeyUsage",
            46: "freshestCRL",
            54: "inhibitAnyPolicy",
        }.items()
    },
    f"{_PKIX}.1.1": "authorityInfoAccess",
    f"{_PKIX}.1.11": "subjectInfoAccess",
    f"{_PKIX}.1.24": "tlsFeature",
    f"{_PKIX}.48.1.5": "ocspNoCheck",
    "1.3.6.1.4.1.311.20.2": "certificate template name (Microsoft)",
    "1.3.6.1.4.1.311.21.7": "certificate template (Microsoft)",
    "2.16.840.1.113730.1.1": "netscapeCertType",
    "2.16.840.1.113730.1.13": "netscapeComment",
}
"""Extensions of certificates, CRLs and their entries (RFC 5280)."""

KEY_PURPOSES: Final = {
    "2.5.29.37.0": "anyExtendedKeyUsage",
    **{
        f"{_PKIX}.3.{number}": name
        for number, name in {
            1: "serverAuth",
            2: "clientAuth",
            3: "codeSigning",
            4: "emailProtection",
            5: "ipsecEndSystem",
            6: "ipsecTunnel",
            7: "ipsecUser",
            8: "timeStamping",
            9: "OCSPSigning",
            17: "ipsecIKE",
            27: "cmcCA",
            28: "cmcRA",
            32: "cmKGA",
        }.items()
    },
    "1.3.6.1.5.5.8.2.2": "iKEIntermediate",
}
"""Extended key usages."""

ATTRIBUTES: Final = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.7": "challengePassword",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.2.840.113549.1.9.14": "extensionRequest",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    **{
        f"2.5.4.{number}": name
        for number, name in {
            3: "CN",
            4: "SN",
            5: "serialNumber",
            6: "C",
            7: "L",
            8: "ST",
            9: "street",
            10: "O",
            11: "OU",
            12: "title",
            17: "postalCode",
            41: "name",
            42: "GN",
            43: "initials",
            44: "generationQualifier",
            46: "dnQualifier",
            65: "pseudonym",
        }.items()
    },
}
"""Attributes of names and of PKCS#10 requests."""

NAME_ATTRIBUTES: Final = frozenset(oid for oid in ATTRIBUTES if not oid.startswith("1.2.840.113549.1.9.")) | {
    "1.2.840.113549.1.9.1"
}
"""Attributes that stand in names; an unstructuredName may be anything."""

CURVES: Final = {
    "1.2.840.10045.3.1.1": "P-192",
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.10": "secp256k1",
    "1.3.132.0.33": "P-224",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}

KEY_KINDS: Final = {
    f"{_PKCS}.1.1": "RSA",
    f"{_PKCS}.1.7": "RSA (OAEP only)",
    f"{_PKCS}.1.10": "RSA (PSS only)",
    f"{_PKCS}.3.1": "Diffie-Hellman",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.10045.2.1": "EC",
    "1.2.840.10046.2.1": "Diffie-Hellman",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    f"{_NIST}.3.17": "ML-DSA-44",
    f"{_NIST}.3.18": "ML-DSA-65",
    f"{_NIST}.3.19": "ML-DSA-87",
    f"{_NIST}.4.1": "ML-KEM-512",
    f"{_NIST}.4.2": "ML-KEM-768",
    f"{_NIST}.4.3": "ML-KEM-1024",
}
"""Algorithms of a SubjectPublicKeyInfo."""

RSASSA_PSS: Final = f"{_PKCS}.1.10"
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"

ALGORITHMS: Final = {
    **{rule.oid: rule.name for rule in algorithms.HASHES.values()},
    **{rule.oid: rule.name for rule in algorithms.MACS.values()},
    **{rule.oid: rule.name for rule in algorithms.SIGNATURES.values() if not rule.pss},
    **KEY_KINDS,
    RSASSA_PSS: "RSASSA-PSS",
    PASSWORD_BASED_MAC: "PasswordBasedMac",
    PBMAC1: "PBMAC1",
    PBKDF2: "PBKDF2",
    "1.2.840.113533.7.66.16": "KemBasedMac",
    "1.2.840.113533.7.66.30": "DHBasedMac",
    f"{_PKCS}.1.8": "MGF1",
    f"{_PKCS}.5.13": "PBES2",
    "1.2.840.113549.3.7": "DES-EDE3-CBC",
    "1.3.14.3.2.7": "DES-CBC",
    f"{_NIST}.1.2": "AES-128-CBC",
    f"{_NIST}.1.5": "AES-128 key wrap",
    f"{_NIST}.1.6": "AES-128-GCM",
    f"{_NIST}.1.22": "AES-192-CBC",
    f"{_NIST}.1.42": "AES-256-CBC",
    f"{_NIST}.1.45": "AES-256 key wrap",
    f"{_NIST}.1.46": "AES-256-GCM",
    f"{_NIST}.2.8": "sha3-256",
    f"{_NIST}.2.11": "shake128",
}
"""Names of algorithms: those of our own tables where we know them, so that they agree with the configuration."""

IV_ALGORITHMS: Final = frozenset({
    "1.2.840.113549.3.7",
    "1.3.14.3.2.7",
    *(f"{_NIST}.1.{number}" for number in (2, 6, 22, 42, 46)),
})  # fmt: skip
"""Ciphers whose parameters are an initialization vector: nothing to read."""

MACS: Final = frozenset({PASSWORD_BASED_MAC, PBMAC1, "1.2.840.113533.7.66.16", "1.2.840.113533.7.66.30"}) | {
    rule.oid for rule in algorithms.MACS.values()
}
"""Protection made with a secret."""

_OLD: Final = "legacy: only the profile `backhaul` accepts it"
LEGACY: Final = {
    **{rule.oid: _OLD for rule in algorithms.HASHES.values() if rule.legacy},
    **{rule.oid: _OLD for rule in algorithms.SIGNATURES.values() if rule.legacy and not rule.pss},
    **{rule.oid: "legacy, still accepted as a MAC" for rule in algorithms.MACS.values() if rule.legacy},
}
"""What is to be said of algorithms that have seen their day."""

_EVERY: Final = (
    ATTRIBUTES
    | EXTENSIONS
    | INFO_TYPES
    | CONTROLS
    | KEY_PURPOSES
    | CURVES
    | ALGORITHMS
    | {
        f"{_PKCS}.7.1": "data",
        f"{_PKCS}.7.2": "signedData",
        f"{_PKCS}.7.3": "envelopedData",
        f"{_PKIX}.48.1": "ocsp",
        f"{_PKIX}.48.2": "caIssuers",
        f"{_PKIX}.8.4": "hardwareModuleName",
        "1.3.6.1.4.1.311.20.2.3": "userPrincipalName (Microsoft)",
    }
)


def named(oid: str) -> str:
    """Return the name of ``oid`` with the OID behind it, or the OID alone."""
    name = _EVERY.get(oid)
    return f"{name} ({oid})" if name else oid
