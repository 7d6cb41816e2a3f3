"""Making a key pair on a token, in the forms that modules take: sensitive, not extractable, and named by us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11 import exceptions as ckr
from pkcs11.constants import DEFAULT

if TYPE_CHECKING:
    from hsm.mechanisms import Recipe
    from hsm.uri import KeyUri

# What a module decides itself is left to it: tpm2-pkcs11 refuses EC keys of which it is said what they do not do.
_PUBLIC: Final = {Attribute.ENCRYPT: DEFAULT, Attribute.WRAP: DEFAULT}
_PRIVATE: Final = {
    Attribute.DECRYPT: DEFAULT,
    Attribute.UNWRAP: DEFAULT,
    Attribute.DERIVE: DEFAULT,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
}


def make(session: Any, how: Recipe, where: KeyUri) -> None:
    """Make a key pair under the name ``where``. Raise :class:`pkcs11.exceptions.PKCS11Error`."""
    common = {"store": True, "id": where.id, "label": where.object}
    if not how.parameters:
        private = _PRIVATE | {Attribute.DECRYPT: True}
        session.generate_keypair(how.key_type, how.bits, public_template=_PUBLIC, private_template=private, **common)
        return
    agrees = how.key_type is KeyType.EC and Mechanism.ECDH1_DERIVE in session.token.slot.get_mechanisms()
    # Those that agree where the token lets them; some let a key sign only.
    uses = ({Attribute.DERIVE: True}, {}) if agrees else ({},)
    last: ckr.PKCS11Error | None = None
    for parameters in how.parameters:
        for use in uses:
            domain = session.create_domain_parameters(how.key_type, {Attribute.EC_PARAMS: parameters}, local=True)
            try:
                domain.generate_keypair(
                    mechanism=how.mechanism, public_template=_PUBLIC, private_template=_PRIVATE | use, **common
                )
            except (
                ckr.AttributeValueInvalid,
                ckr.AttributeTypeInvalid,
                ckr.DomainParamsInvalid,
                ckr.TemplateInconsistent,
            ) as error:
                last = error
            else:
                return
    assert last is not None  # noqa: S101 - there is at least one form
    raise last
